"""Files that a stranger made are read, or refused, and never run."""

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.data.pack import Pack
from inat_ray.data.pack_file import DamagedPackError
from inat_ray.log.run_log import read_history
from inat_ray.run.fetch import run_here
from inat_ray.run.folder import RunFolder
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import load_checkpoint
from inat_ray.training.predictions import read_predictions


class Attack:
    """Unpickled, it would leave a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "code ran"


def test_a_pickle_that_does_run_leaves_the_trace(trace):
    """Or the tests below could not fail."""
    pickle.loads(pickle.dumps(Attack(trace)))
    assert trace.exists()


def test_an_experiment_that_names_python_objects_is_refused(tmp_path, trace):
    path = tmp_path / "experiment.yaml"
    path.write_text(f"name: !!python/object/apply:pathlib.Path.touch ['{trace}']\n")
    with pytest.raises(UserError, match=r"experiment\.yaml"):
        load_experiment(path)
    assert not trace.exists()


def test_a_checkpoint_is_refused(tmp_path, trace):
    torch.save({"fit": Attack(trace), "best": 0.0}, tmp_path / "epoch_0001.pt")
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(Place.at(tmp_path / "epoch_0001.pt"), torch.device("cpu"))
    assert not trace.exists()


def test_a_pack_is_refused(tmp_path, trace):
    (tmp_path / "p.pack").write_bytes(pickle.dumps(Attack(trace)) * 10)
    with pytest.raises(DamagedPackError):
        Pack.open(tmp_path / "p.pack")
    assert not trace.exists()


def test_predictions_are_data_whatever_their_columns_say_they_are(tmp_path, trace):
    extension = {
        "ARROW:extension:name": b"arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Attack(trace)),
    }
    names = [pa.field(n, pa.string(), metadata=extension) for n in ("path", "truth", "prediction")]
    numbers = pa.field("probabilities", pa.list_(pa.float32()), metadata=extension)
    schema = pa.schema([*names, numbers], metadata={"classes": "a\nb"})
    columns = [["a/1.jpg"], ["a"], ["b"], [[0.25, 0.75]]]
    pq.write_table(pa.table(columns, schema=schema), tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").paths == ["a/1.jpg"]
    assert not trace.exists()


def test_a_run_log_is_records_and_nothing_else(tmp_path, trace):
    log = RunFolder(tmp_path / "run").log
    log.mkdir(parents=True)
    (log / "events.jsonl").write_bytes(pickle.dumps(Attack(trace)) + b"\n")
    with pytest.raises(UserError, match="is not a record that this version can read"):
        read_history(log)
    (log / "events.jsonl").write_text('{"kind": "__reduce__", "time": 1.0}\n')
    with pytest.raises(UserError, match="is not a record that this version can read"):
        read_history(log)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["../outside", "a/../../outside"])
def test_a_run_in_a_storage_writes_nothing_outside_its_folder(tmp_path, name, monkeypatch):
    """A store may hold any name, so here one does that a disk cannot."""
    stored = Place.at(tmp_path / "stored")
    (stored / "experiment.yaml").write(b"name: x\n")
    (stored / "log" / "segments" / "000000000-000000000.jsonl").write(b"")
    names = [*stored.names(), name]
    monkeypatch.setattr(Place, "names", lambda self: names if self == stored else [])
    with pytest.raises(UserError, match="leads out of it"):
        run_here(stored.address, tmp_path / "here" / "run")
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("trial_id", ["../outside", "a/b", "..", ""])
def test_a_trial_cannot_be_named_like_a_way_out(tmp_path, trial_id):
    """Its name becomes that of folders."""
    log = RunFolder(tmp_path / "run").log
    log.mkdir(parents=True)
    record = {"kind": "trial_started", "trial_id": trial_id, "seed": 0, "parameters": {}}
    (log / "events.jsonl").write_text(json.dumps({**record, "epochs": 1}) + "\n")
    with pytest.raises(UserError, match="is not a record that this version can read"):
        read_history(log)
