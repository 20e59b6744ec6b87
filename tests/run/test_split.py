import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.run.split import keep_split
from tests.run.made_up_runs import create_run


def test_a_run_keeps_the_split_that_it_began_with_in_its_storage_too(tmp_path, data_folder):
    kept = Experiment(
        data={"source": str(data_folder), "cache": str(tmp_path / "cache"), "image_size": 32},
        resources={"storage_path": str(tmp_path / "storage")},
    )
    run = create_run(tmp_path / "a", kept, overwrite=False)
    keep_split(run, open_dataset(kept.data))
    before = run.split.read_bytes()
    assert (run.storage / "split.json").read() == before
    keep_split(run, open_dataset(kept.data))
    with pytest.raises(UserError, match="the data have changed"):
        keep_split(run, open_dataset(kept.data.model_copy(update={"split_seed": 7})))
    assert run.split.read_bytes() == before
