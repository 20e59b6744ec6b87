import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.search.run_folder import check_free, create_run, default_folder


def test_a_run_begins_with_its_resolved_experiment(tmp_path):
    experiment = Experiment(name="mine", seed=5)
    run = create_run(tmp_path / "a" / "b", experiment, overwrite=False)
    assert load_experiment(run.experiment) == experiment


def test_a_run_is_not_replaced_by_accident(tmp_path):
    run = create_run(tmp_path / "a", Experiment(), overwrite=False)
    (run.path / "result.json").write_text("{}")
    with pytest.raises(UserError, match="--overwrite"):
        create_run(run.path, Experiment(), overwrite=False)
    assert run.result.exists()


def test_overwrite_leaves_nothing_of_the_old_run(tmp_path):
    run = create_run(tmp_path / "a", Experiment(), overwrite=False)
    run.result.write_text("{}")
    assert not create_run(run.path, Experiment(), overwrite=True).result.exists()


def test_overwrite_does_not_touch_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="no run"):
        create_run(tmp_path, Experiment(), overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(UserError, match="is a file"):
        check_free(tmp_path / "f", overwrite=True)


def test_the_default_folder_carries_the_name_and_the_time():
    assert default_folder("mine").parent.name == "runs"
    assert default_folder("mine").name.startswith("mine-20")
