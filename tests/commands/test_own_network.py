"""A network of one's own through all commands, and what nobody's run may do with such code."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from hashlib import sha256
from pathlib import Path

import pytest
import safetensors.torch
import yaml
from safetensors import safe_open

import inat_ray
from inat_ray.config import code
from inat_ray.config.errors import UserError
from inat_ray.log.records import EpochEnded
from inat_ray.log.run_log import EVENTS, read_history, read_records
from tests.own_network import SOURCE, evil, write_experiment, write_network
from tests.run.made_up_runs import make_run

SMALL = """
data: {{source: {data}, cache: {cache}, image_size: 32}}
recipe: {{batch_size: 8, epochs: 2, augmentation: {{crop_scale: 1}}}}
device: cpu
"""


@pytest.fixture(autouse=True)
def _no_code_is_allowed(monkeypatch):
    monkeypatch.setattr(code, "_allowed", {})
    monkeypatch.setattr(code, "_named", {})


@pytest.fixture(scope="session")
def small(data_folder, pack_cache) -> str:
    """The settings of a short training besides the model's."""
    return SMALL.format(data=data_folder, cache=pack_cache)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small) -> Path:
    """A run of `train` of a network of one's own; the code is beside it, in `my_net.py`."""
    folder = tmp_path_factory.mktemp("own")
    write_network(folder)
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
        patch.setattr(code, "_allowed", {})
        patch.setattr(code, "_named", {})
        own = inat_ray.Experiment.open(write_experiment(folder, small))
        own.train(out=folder / "run", test=True)
    assert f"--code {folder / 'run' / 'code' / 'my_net.py'}" in " ".join(said.getvalue().split())
    return folder / "run"


def test_the_run_says_which_code_it_was_and_keeps_a_copy(trained):
    model = yaml.safe_load((trained / "experiment.yaml").read_text())["model"]
    assert (model["target"], model["sha256"]) == (
        "my_net.py:Net",
        sha256(SOURCE.encode()).hexdigest(),
    )
    assert (trained / "code" / "my_net.py").read_text() == SOURCE


def lines(run: Path, image: Path, out: Path) -> dict[str, list[object]]:
    """Every command that would build the network of a run."""
    return {
        "predict": [run, image, "--json"],
        "evaluate": [run, "--out", out / "evaluated"],
        "export": [run, "--format", "torch", "--out", out / "model.pt2"],
        "ensemble": [run, run, "--out", out / "twice.safetensors"],
    }


@pytest.fixture
def image(data_folder) -> Path:
    return next((data_folder / "val").rglob("*.png"))


@pytest.mark.parametrize("name", ["predict", "evaluate", "export", "ensemble"])
def test_a_model_runs_once_its_code_is_named(trained, told, image, tmp_path, name):
    line = lines(trained, image, tmp_path)[name]
    status, text = told(name, *line)
    assert (status, "runs only if you name it: --code my_net.py" in text) == (2, True), text
    status, text = told(name, *line, "--code", trained.parent / "my_net.py")
    assert status == 0, text


def test_other_code_is_refused_by_both_digests_unless_the_word_is_said(
    trained, told, image, tmp_path
):
    other = write_network(tmp_path, SOURCE + "# changed\n")
    line = ["predict", trained, image, "--code", other]
    status, text = told(*line)
    digests = [sha256(each).hexdigest()[:16] for each in (SOURCE.encode(), other.read_bytes())]
    assert status == 2
    assert all(each in text for each in (*digests, "--changed-code"))
    status, text = told(*line, "--changed-code")
    assert status == 0, text


@pytest.mark.parametrize(
    "name", ["predict", "evaluate", "export", "ensemble", "report", "train", "sweep"]
)
def test_code_beside_what_needs_none_is_told(
    save_untrained, arguments, told, image, tmp_path, name
):
    model = save_untrained(tmp_path / "m.safetensors")
    run = make_run(tmp_path / "run", [])
    line = {"report": [run], "train": arguments, "sweep": arguments}
    line |= lines(model, image, tmp_path)
    status, text = told(name, *line[name], "--code", write_network(tmp_path))
    assert (status, "there is no network of your own" in text) == (2, True), text


def test_a_report_without_the_code_lacks_what_needs_it_and_says_so(trained, told, tmp_path):
    page = tmp_path / "page.html"
    status, text = told("report", trained, "--out", page)
    assert status == 0, text
    assert "The model could not be read: model.target: my_net.py:Net" in page.read_text()
    assert "Confusion matrix" in page.read_text()
    assert "What it looks at" not in page.read_text()


def test_an_experiment_of_a_run_is_trained_again_once_its_code_is_named(trained, told, tmp_path):
    line = ["train", trained / "experiment.yaml", "--out", tmp_path / "again"]
    status, text = told(*line)
    assert (status, "runs only if you name it" in text) == (2, True), text
    status, text = told(*line, "--code", trained / "code" / "my_net.py")
    assert status == 0, text
    first, second = (epochs(run) for run in (trained, tmp_path / "again"))
    assert first == second


def epochs(run: Path) -> list[tuple[str, int, float, float]]:
    return [
        (record.trial_id, record.epoch, record.train_loss, record.val_accuracy)
        for record in read_records(run / "log" / EVENTS)
        if isinstance(record, EpochEnded)
    ]


def test_python_loads_it_with_its_code_alone(trained, image):
    with pytest.raises(UserError, match="runs only if you name it"):
        inat_ray.load(trained)
    model = inat_ray.load(trained, code=trained.parent / "my_net.py")
    [found] = model.predict(image)
    assert found.label in model.classes
    with pytest.raises(UserError, match="runs only if you name it"):
        inat_ray.load(trained)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "there is no file"),
        ("class Other: pass", "has no Net"),
        ("1 / 0", "ZeroDivisionError: division by zero (my_net.py, line 1)"),
        (SOURCE.replace("classes)", "10)"), "logits (1, 2) are needed"),
        (SOURCE.replace("return self", "raise ValueError('no') #"), "ValueError: no (my_net.py"),
    ],
)
@pytest.mark.parametrize("name", ["train", "sweep"])
def test_a_mistake_is_one_sentence_before_anything_begins(
    told, tmp_path, small, monkeypatch, name, source, message
):
    monkeypatch.chdir(tmp_path)
    if source is not None:
        write_network(tmp_path, source)
    search = "search: {method: random, trials: 2, parameters: {recipe.lr: {min: 0.01, max: 0.1}}}"
    status, text = told(name, write_experiment(tmp_path, small + search), "--out", "run")
    assert status == 2
    assert message in " ".join(text.split())
    assert "Traceback" not in text
    assert not Path("run").exists()


@pytest.fixture
def malicious(trained, tmp_path, monkeypatch) -> tuple[Path, Path]:
    """(a run whose files name code that leaves a mark, the mark). Its digests are right."""
    run, mark = tmp_path / "run", tmp_path / "ran"
    shutil.copytree(trained, run)
    source = evil(mark)
    for folder in (run, run / "code", run / "log", tmp_path):
        write_network(folder, source)
    (run / "result.json").unlink()
    digest = sha256(source.encode()).hexdigest()
    for name in ("experiment.yaml", "best.yaml"):
        tree = yaml.safe_load((run / name).read_text())
        tree["model"] |= {"target": f"{run}/my_net.py:Net", "sha256": digest}
        (run / name).write_text(yaml.safe_dump(tree))
    with safe_open(run / "best.safetensors", framework="pt") as file:
        about = dict(file.metadata())
    experiment = json.loads(about["experiment"])
    experiment["model"] |= {"target": f"{run}/my_net.py:Net", "sha256": digest}
    weights = safetensors.torch.load_file(run / "best.safetensors")
    safetensors.torch.save_file(
        weights, run / "best.safetensors", metadata=about | {"experiment": json.dumps(experiment)}
    )
    monkeypatch.chdir(tmp_path)
    return run, mark


@pytest.mark.parametrize("digest", ["its own", "none"])
def test_no_run_and_no_model_makes_anybody_run_its_code(
    malicious, told, image, tmp_path, small, digest
):
    run, mark = malicious
    if digest == "none":
        for name in ("experiment.yaml", "best.yaml"):
            text = (run / name).read_text()
            (run / name).write_text(re.sub("sha256: [0-9a-f]+", "sha256: null", text))
    for name, line in lines(run, image, tmp_path).items():
        status, text = told(name, *line)
        assert (status, "runs only if you name it" in text) == (2, True), text
    for line in (
        ["train", "--resume", run],
        ["train", run / "experiment.yaml"],
        ["train", run / "best.yaml"],
        ["sweep", "--resume", run],
        ["sweep", run / "experiment.yaml", "--resume", run],
        ["sweep", "--extend", run, "--trials", "2"],
    ):
        status, text = told(*line)
        assert status == 2, text
    storage = tmp_path / "storage" / "theirs"
    shutil.copytree(run, storage)
    records = (storage / "log" / EVENTS).read_text()
    (storage / "log" / EVENTS).unlink()
    (storage / "log" / "segments").mkdir()
    name = f"{0:09}-{len(records.splitlines()):09}.jsonl"
    (storage / "log" / "segments" / name).write_text(records)
    status, text = told("train", "--resume", storage, "--out", tmp_path / "brought")
    assert (status, "runs only if you name it" in text) == (2, True), text
    for line in (
        ["report", run],
        ["report", storage],
        ["runs", tmp_path],
        ["sweep", "--status", run],
        ["train", "--set", f"data.cache={tmp_path}", "--resume", run],
    ):
        told(*line)
    for call in (inat_ray.load, lambda run: inat_ray.Run(run).resume()):
        with pytest.raises(UserError):
            call(run)
    inat_ray.Run(run).report(tmp_path / "page.html")
    assert not mark.exists()


def test_somebody_elses_code_that_is_named_does_run(malicious, told, image):
    run, mark = malicious
    status, text = told("predict", run, image, "--code", run / "my_net.py")
    assert status == 0, text
    assert mark.exists()


SEARCH = """
search:
  method: random
  early_stopping: {kind: none}
  trials: 4
  parameters:
    model.args.width: {values: [4, 8]}
    model.args.dropout: {min: 0.0, max: 0.3, when: {model.args.width: 8}}
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "settings",
    [
        ["resources.max_concurrent=1"],
        ["model.freeze.strategy=head_only", "model.feature_views=2"],
        ["model.freeze={strategy: gradual, every: 1}", "resources.workers_per_trial=2"],
    ],
    ids=["whole", "on cached features", "thawing, by two workers"],
)
def test_a_search_that_is_killed_goes_on_with_its_code_and_ends_as_one_that_was_not(
    command, image, small, tmp_path, settings
):
    write_network(tmp_path)
    experiment = write_experiment(tmp_path, small + SEARCH)
    given = [arg for line in (*settings, "recipe.epochs=8") for arg in ("--set", line)]
    whole = command("sweep", experiment, "--out", tmp_path / "whole", *given)
    assert whole.returncode == 0, whole.stderr
    run = tmp_path / "killed"
    kill_after(6, [experiment, "--out", run, *given], run=run)
    refused = command("sweep", "--resume", run)
    assert (refused.returncode, "--code my_net.py" in refused.stderr) == (2, True), refused.stderr
    resumed = command("sweep", "--resume", run, "--code", tmp_path / "my_net.py")
    assert resumed.returncode == 0, resumed.stderr
    assert sorted(set(epochs(run))) == sorted(epochs(tmp_path / "whole"))
    widths = {t.parameters["model.args.width"] for t in read_history(run / "log").searched}
    assert widths == {4, 8}
    predicted = command("predict", run, image, "--json", "--code", run / "code" / "my_net.py")
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["prediction"] in ("ash", "beech", "cedar")
    for form in ("onnx", "torch"):
        line = ["export", run, "--format", form, "--code", tmp_path / "my_net.py"]
        exported = command(*line)
        assert exported.returncode == 0, exported.stderr


def kill_after(count: int, arguments: list[object], *, run: Path) -> None:
    """Runs a sweep until its log has so many epochs, and kills it."""
    line = [sys.executable, "-m", "inat_ray.sweep", *map(str, arguments)]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    try:
        while not (run / "log" / EVENTS).exists() or len(epochs(run)) < count:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
def test_the_example_that_comes_along_is_searched_by_its_name(command, tmp_path):
    settings = ["recipe.epochs=1", "data.demo_images_per_class=10", f"data.cache={tmp_path}"]
    given = [arg for line in settings for arg in ("--set", line)]
    done = command("sweep", "own_network", "--trials", "2", "--out", "run", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "code" / "own_network.py").exists()
