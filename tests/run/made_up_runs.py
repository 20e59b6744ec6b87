"""Run folders made up for tests, in every state that a run can be in."""

import json
from pathlib import Path

from inat_ray.config.experiment import Experiment
from inat_ray.log.records import LOG_VERSION, AnyRecord, LookAtTest, RunStarted, SearchEnded
from inat_ray.log.run_log import RunLog
from inat_ray.run.claim import begin_run, claimed
from inat_ray.run.folder import RunFolder
from tests.log.made_up_logs import ended, epoch, started

LOOK = LookAtTest(model="best.safetensors", accuracy=0.6, loss=1.0, images=5, predictions="p")


def create_run(path: Path, experiment: Experiment, *, overwrite: bool) -> RunFolder:
    """A run in which no process is at work yet."""
    with claimed(path, experiment, overwrite=overwrite) as run:
        begin_run(run, experiment)
    return RunFolder(path)


def run_started(*, method: str = "random", time: float = 1.0) -> RunStarted:
    return RunStarted(
        time=time,
        version=LOG_VERSION,
        name="made_up",
        method=method,
        metric="val_accuracy",
        goal="maximize",
        trials=2,
        epochs=1,
        parameters={"recipe.lr": "number"},
    )


def search_records(*, method: str = "random", time: float = 1.0) -> list[AnyRecord]:
    """Two trials, the winner's training and a look at the test set."""
    return [
        run_started(method=method, time=time),
        *(started("a"), epoch("a", 1, accuracy=0.5), ended("a")),
        *(started("b"), epoch("b", 1, accuracy=0.7), ended("b")),
        SearchEnded(reason="trials"),
        *(started("winner", purpose="final"), epoch("winner", 1, accuracy=0.71), ended("winner")),
        LOOK,
    ]


def make_run(path: Path, records: list[AnyRecord], *, result: dict | None = None, **tree) -> Path:
    """A run with this log, that used a pack of no images here unless `result` says otherwise."""
    experiment = Experiment.model_validate({"name": "made_up"} | tree)
    run = create_run(path, experiment, overwrite=False)
    write_log(run, records)
    if result is not None:
        run.result.write_text(json.dumps(result))
    return path


def write_log(run: RunFolder, records: list[AnyRecord]) -> None:
    with RunLog(run.log, storage=run.storage) as log:
        for record in records:
            log.append(record)


def finished_run(path: Path, *, time: float = 1.0, pack: str = "0" * 24, **tree) -> Path:
    """A search that is over, with its model, tables, pictures for TensorBoard and left-overs."""
    data = {"classes": ["ash"], "images": {"train": 1}, "quarantined": {}, "duplicates": []}
    result = {"data": data | {"pack": f"/cache/packs/{pack}.pack"}}
    make_run(path, search_records(time=time), result=result, **tree)
    for name in ("best.safetensors", "trials.parquet", "report.html", "notes.txt"):
        (path / name).write_bytes(b"kept")
    (path / "tensorboard").mkdir()
    (path / "tensorboard" / "events").write_bytes(b"kept")
    (path / "snapshots").mkdir()
    (path / "snapshots" / "trial_0000.safetensors").write_bytes(b"kept")
    (path / "checkpoints" / "a").mkdir(parents=True)
    (path / "checkpoints" / "a" / "epoch_0001.pt").write_bytes(b"x" * 1000)
    (path / "weights").mkdir()
    (path / "weights" / "w.pth").write_bytes(b"x" * 200)
    (path / "best.safetensors.partial").write_bytes(b"x" * 30)
    return path


def cut_off_run(path: Path, **tree) -> Path:
    """A search whose process died in its second trial; its checkpoints are there."""
    make_run(path, search_records()[:5], **tree)
    (path / "checkpoints" / "b").mkdir(parents=True)
    (path / "checkpoints" / "b" / "epoch_0001.pt").write_bytes(b"x" * 1000)
    return path
