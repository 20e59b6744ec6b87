"""A damaged run is read as far as it goes, and what it lacks is named."""

import json

import pytest
import yaml

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.log.run_log import EVENTS
from inat_ray.page.reported_run import NEVER_BEGAN, open_run
from inat_ray.run.folder import RunFolder
from tests.run.made_up_runs import create_run


@pytest.fixture
def run(tmp_path, sweep, data_folder, pack_cache) -> RunFolder:
    """A run without a result or a model, as one that was killed leaves it."""
    data = {"source": str(data_folder), "cache": str(pack_cache), "image_size": 32}
    experiment = Experiment.model_validate({"data": data})
    open_dataset(experiment.data)
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    write_log(run, sweep)
    return run


def write_log(run: RunFolder, records) -> None:
    run.log.mkdir(exist_ok=True)
    lines = [record.model_dump_json() for record in records]
    (run.log / EVENTS).write_text("\n".join(lines) + "\n")


def test_a_killed_run_is_read_and_says_what_it_lacks(run):
    found = open_run(run.path)
    assert len(found.history.searched) == 6
    assert found.name == "run"
    assert found.data is not None
    assert [text.partition(":")[0] for text in found.missing] == [
        "There is no result.json",
        "There is no model here (best.safetensors).",
    ]


def test_a_log_is_read_up_to_a_damaged_line(run, sweep):
    lines = [record.model_dump_json() for record in sweep]
    lines[5] = '{"kind": "of another kind"}'
    (run.log / EVENTS).write_text("\n".join(lines))
    found = open_run(run.path)
    assert len(found.history.searched) == 1
    assert any("damaged line" in text for text in found.missing)


def test_records_of_a_trial_that_never_started_are_damage_too(run, sweep):
    write_log(run, [sweep[0], *sweep[2:4]])
    assert any("damaged line" in text for text in open_run(run.path).missing)


@pytest.mark.parametrize("content", ["", "\n", '{"kind": "run_sta'])
def test_a_log_without_a_record_is_a_run_that_never_began(run, content):
    (run.log / EVENTS).write_text(content)
    found = open_run(run.path)
    assert found.history.started is None
    assert NEVER_BEGAN in found.missing
    assert not found.is_search


def test_a_run_without_a_log_is_one_too(run):
    (run.log / EVENTS).unlink()
    assert any("no log" in text for text in open_run(run.path).missing)


def test_damaged_files_are_named(run):
    run.result.write_text("{")
    run.model.write_bytes(b"no model")
    run.experiment.write_text("data: {image_size: -1}")
    missing = " ".join(open_run(run.path).missing)
    for words in ("result.json could not", "model could not", "experiment could not"):
        assert words in missing


def test_photographs_that_are_gone_are_named_and_found_again_elsewhere(run, data_folder, tmp_path):
    text = run.experiment.read_text().replace(str(data_folder), str(tmp_path / "gone"))
    run.experiment.write_text(text)
    found = open_run(run.path)
    assert found.data is None
    assert any("photographs could not be opened" in text for text in found.missing)
    assert open_run(run.path, source=str(data_folder)).data is not None


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({}, "holds no pack of"), ({"source": "inaturalist-12k"}, "is not downloaded")],
)
def test_photographs_are_neither_downloaded_nor_decoded_unasked(
    settings, reason, run, data_folder, tmp_path
):
    tree = yaml.safe_load(run.experiment.read_text())
    tree["data"] |= {"cache": str(tmp_path / "cache"), **settings}
    run.experiment.write_text(yaml.safe_dump(tree))
    found = open_run(run.path)
    assert found.data is None
    assert reason in found.missing[-1]
    assert not (tmp_path / "cache").exists()
    assert open_run(run.path, source=str(data_folder)).data is not None


def test_the_result_is_that_of_the_file(run):
    run.result.write_text(json.dumps({"val_accuracy": 0.5}))
    assert open_run(run.path).result == {"val_accuracy": 0.5}


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        open_run(tmp_path)
