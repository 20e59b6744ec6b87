import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.log.run_log import RunLog, read_records
from inat_ray.run.fetch import run_here
from inat_ray.run.folder import RunFolder
from tests.log.made_up_logs import RUN, ended, epoch, started
from tests.run.made_up_runs import create_run


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
    with pytest.raises(UserError, match="continued on another machine"):
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


def test_a_run_is_not_fetched_into_a_folder_of_other_files(kept, tmp_path):
    run = create_run(tmp_path / "a", kept, overwrite=False)
    with RunLog(run.log, storage=run.storage) as log:
        log.append(RUN)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds files that are no run"):
        run_here(run.storage.address, tmp_path / "b")
