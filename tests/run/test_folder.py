import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.run.folder import RunFolder
from inat_ray.storage.place import Place
from tests.run.made_up_runs import create_run


def test_a_run_without_a_storage_shares_its_own_folder(tmp_path):
    run = create_run(tmp_path / "a", Experiment(), overwrite=False)
    assert run.storage is None
    assert run.checkpoints == Place.at(tmp_path / "a") / "checkpoints"


def test_a_run_knows_its_storage_wherever_its_folder_is_moved(kept, tmp_path):
    run = create_run(tmp_path / "a", kept, overwrite=False)
    storage = run.storage
    assert storage is not None
    assert RunFolder(run.path.rename(tmp_path / "b")).storage == storage
    assert storage.last_name == "a"


def test_what_a_link_in_a_run_leads_to_is_not_kept_in_its_storage(kept, tmp_path):
    (tmp_path / "secret").write_text("hush")
    run = create_run(tmp_path / "run", kept, overwrite=False)
    (run.path / "notes").symlink_to(tmp_path / "secret")
    run.keep_all()
    assert run.storage.names() == ["experiment.yaml"]


@pytest.mark.parametrize("address", ["", "shar", "./checkpoints"])
def test_a_cut_off_address_of_the_storage_is_not_a_folder_of_this_process(tmp_path, address):
    run = create_run(tmp_path / "run", Experiment(), overwrite=False)
    (run.path / "storage").write_text(address)
    with pytest.raises(UserError, match=r"storage: cannot be read .*absolute path"):
        _ = run.storage
