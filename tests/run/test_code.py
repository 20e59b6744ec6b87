import pytest

from inat_ray.config import code
from inat_ray.config.code import own_code
from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.run.code import admitted, keep_code, kept_code
from inat_ray.run.folder import RunFolder
from tests.own_network import SOURCE, write_experiment, write_network


@pytest.fixture(autouse=True)
def _no_code_is_allowed(monkeypatch):
    monkeypatch.setattr(code, "_allowed", {})
    monkeypatch.setattr(code, "_named", {})


def test_an_experiment_in_a_runs_folder_is_not_ones_own(tmp_path):
    write_network(tmp_path)
    path = write_experiment(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "events.jsonl").touch()
    with pytest.raises(UserError, match="runs only if you name it"):
        admitted(load_experiment(path), path)


def test_a_run_keeps_the_code_and_that_of_a_change_beside_it(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for source in (SOURCE, SOURCE + "# changed\n"):
        write_network(tmp_path, source)
        keep_code(run, own_code(load_experiment(write_experiment(tmp_path))))
    first, second = sorted((run.path / "code").iterdir(), key=lambda file: len(file.name))
    assert (first.name, first.read_text()) == ("my_net.py", SOURCE)
    assert second.read_text() == SOURCE + "# changed\n"
    assert kept_code(run) in (first, second)


def test_a_run_of_a_network_that_needs_no_code_keeps_none(tmp_path):
    run = RunFolder(tmp_path)
    keep_code(run, load_experiment(None))
    assert kept_code(run) is None
    assert not list(tmp_path.iterdir())
