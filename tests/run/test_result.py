import json
import math

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.run.result import finish_run, read_result, write_result
from tests.run.made_up_runs import create_run


def test_a_number_that_is_nan_is_null_in_the_file(tmp_path):
    written = write_result({"a": math.nan, "b": {"c": 1.0}}, tmp_path / "result.json")
    assert written == {"a": None, "b": {"c": 1.0}}
    assert json.loads((tmp_path / "result.json").read_text()) == written
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_finished_run_has_its_result_and_its_model_s_experiment_in_its_storage_too(tmp_path):
    kept = Experiment(resources={"storage_path": str(tmp_path / "storage")})
    run = create_run(tmp_path / "a", kept, overwrite=False)
    finish_run(run, result={"name": "a"}, model=Experiment(name="winner"))
    assert read_result(run.result) == {"name": "a"}
    assert load_experiment(run.model_experiment).name == "winner"
    for file in (run.result, run.model_experiment):
        assert (run.storage / file.name).read() == file.read_bytes()


def test_without_the_model_s_experiment_there_is_no_result_that_says_the_run_is_over(tmp_path):
    run = create_run(tmp_path / "a", Experiment(), overwrite=False)
    run.model_experiment.mkdir()  # so that it cannot be written
    with pytest.raises(IsADirectoryError):
        finish_run(run, result={"name": "a"}, model=Experiment())
    assert read_result(run.result) is None
