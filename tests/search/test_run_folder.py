import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.search.run_folder import (
    RunFolder,
    check_free,
    check_storage,
    create_run,
    default_folder,
    run_here,
)
from inat_ray.search.run_log import RunLog, read_records
from inat_ray.storage.place import Place
from tests.search.test_run_log import RUN, ended, epoch, started


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


@pytest.fixture(params=["share", "bucket"])
def kept(request, tmp_path) -> Experiment:
    """An experiment whose runs are kept on a disk that all nodes share, or in a bucket."""
    address = (
        str(tmp_path / "share") if request.param == "share" else request.getfixturevalue("bucket")
    )
    return Experiment(resources={"storage_path": address})


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


def test_a_run_in_the_storage_is_not_replaced_by_accident(kept, tmp_path):
    create_run(tmp_path / "here" / "a", kept, overwrite=False)
    check_storage(tmp_path / "there" / "b", kept, overwrite=False)
    with pytest.raises(UserError, match=r"/a: holds a run already.*--overwrite"):
        check_storage(tmp_path / "there" / "a", kept, overwrite=False)
    check_storage(tmp_path / "there" / "a", kept, overwrite=True)


def test_another_machine_gets_the_run_from_its_storage(kept, tmp_path):
    """With the log, the results and what goes with them; checkpoints stay where nodes see them."""
    run = create_run(tmp_path / "a", kept, overwrite=False)
    with RunLog(run.log, storage=run.storage) as log:
        for record in (RUN, started("t"), epoch("t", 1, checkpoint="checkpoints/t/1.pt")):
            log.append(record)
    run.shared_model.write(b"model")
    (run.checkpoints / "t" / "1.pt").write(b"state")
    run.result.write_text("{}")
    (run.tensorboard / "t").mkdir(parents=True)
    (run.tensorboard / "t" / "events").write_text("e")
    run.keep_all()
    fetched = RunFolder(run_here(run.storage.address, tmp_path / "other" / "name"))
    assert list(read_records(fetched.log / "events.jsonl")) == list(
        read_records(run.log / "events.jsonl")
    )
    assert load_experiment(fetched.experiment) == kept
    assert fetched.model.read_bytes() == b"model"
    assert (fetched.tensorboard / "t" / "events").read_text() == "e"
    assert fetched.storage == run.storage
    assert not (fetched.path / "checkpoints").exists()
    with RunLog(fetched.log, storage=fetched.storage) as log:
        log.append(ended("t"))
    with pytest.raises(UserError, match="gone on with from another machine"):
        RunLog(run.log, storage=run.storage)


def test_a_run_that_is_here_is_not_fetched_over(kept, tmp_path):
    run = create_run(tmp_path / "a", kept, overwrite=False)
    with RunLog(run.log, storage=run.storage) as log:
        log.append(RUN)
    with pytest.raises(UserError, match="holds a run already; --resume"):
        run_here(run.storage.address, run.path)


def test_a_storage_without_such_a_run_says_so(bucket):
    with pytest.raises(UserError, match="nothing-here: holds no run"):
        run_here(f"{bucket}/nothing-here")


def test_a_folder_is_gone_on_with_where_it_is(tmp_path):
    assert run_here(str(tmp_path)) == tmp_path
    with pytest.raises(UserError, match="--out"):
        run_here(str(tmp_path), tmp_path / "else")


def test_a_run_is_not_kept_in_its_own_folder(tmp_path):
    """Which would be emptied to make room for it."""
    experiment = Experiment(resources={"storage_path": str(tmp_path)})
    with pytest.raises(UserError, match="is the run's own folder"):
        check_storage(tmp_path / "run", experiment, overwrite=False)


def test_a_run_is_not_fetched_into_a_folder_of_other_files(kept, tmp_path):
    run = create_run(tmp_path / "a", kept, overwrite=False)
    with RunLog(run.log, storage=run.storage) as log:
        log.append(RUN)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds files that are no run"):
        run_here(run.storage.address, tmp_path / "b")
