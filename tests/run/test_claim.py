import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.log import lock as run_lock
from inat_ray.log.lock import ALIVE, alive_in
from inat_ray.log.run_log import RunLog, read_records
from inat_ray.run import claim
from inat_ray.run.claim import (
    begin_run,
    check_free,
    check_storage,
    claimed,
    default_folder,
    reclaimed,
)
from inat_ray.run.fetch import run_here
from inat_ray.run.folder import RunFolder
from inat_ray.storage.place import Place
from tests.log.made_up_logs import RUN
from tests.run.made_up_runs import create_run


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


def test_a_run_in_the_storage_is_not_replaced_by_accident(kept, tmp_path):
    create_run(tmp_path / "here" / "a", kept, overwrite=False)
    check_storage(tmp_path / "there" / "b", kept, overwrite=False)
    with pytest.raises(UserError, match=r"/a: holds a run already.*--overwrite"):
        check_storage(tmp_path / "there" / "a", kept, overwrite=False)
    check_storage(tmp_path / "there" / "a", kept, overwrite=True)


def test_a_run_is_not_kept_in_its_own_folder(tmp_path):
    """Which would be emptied to make room for it."""
    experiment = Experiment(resources={"storage_path": str(tmp_path)})
    with pytest.raises(UserError, match="is the run's own folder"):
        check_storage(tmp_path / "run", experiment, overwrite=False)


LIVE = Experiment(name="live")


@pytest.fixture
def live(tmp_path):
    """The folder of a run that a process is at work on, whose log may be closed again."""
    with claimed(tmp_path / "live", LIVE, overwrite=False) as run:
        begin_run(run, LIVE)
        with RunLog(run.log, is_claimed=True) as log:
            log.append(RUN)
        yield run.path


def test_a_live_run_is_replaced_by_no_way_that_leads_to_it(live, tmp_path):
    """Also while its report is written, when its log is closed."""
    (tmp_path / "link").symlink_to(live)
    for path in (live, tmp_path / "link", live / ".." / "live"):
        with (
            pytest.raises(UserError, match="another process is at work on this run"),
            claimed(path, Experiment(), overwrite=True),
        ):
            pass
    with pytest.raises(UserError, match="another process is at work"), reclaimed(live):
        pass
    assert load_experiment(RunFolder(live).experiment) == LIVE
    assert list(read_records(RunFolder(live).events)) == [RUN]


def test_a_folder_that_a_live_run_lies_in_is_not_replaced(live, tmp_path):
    (tmp_path / "experiment.yaml").write_text("name: outer")
    with pytest.raises(UserError, match=r"at work on .*/live"):
        check_free(tmp_path, overwrite=True)


def test_a_log_that_is_a_link_is_not_emptied(live, tmp_path):
    other = create_run(tmp_path / "other", Experiment(), overwrite=False)
    shutil.rmtree(other.log)
    other.log.symlink_to(live / "log")
    with pytest.raises(UserError, match="its log is a link"):
        create_run(other.path, Experiment(), overwrite=True)


@pytest.fixture
def quick_beats(monkeypatch):
    monkeypatch.setattr(run_lock, "SECONDS_A_BEAT", 0.02)
    monkeypatch.setattr(run_lock, "SECONDS_WITHOUT_BEAT", 0.5)


def test_the_place_in_a_storage_of_a_live_run_is_not_replaced(kept, tmp_path, quick_beats):
    """By a run of the same name in another folder, perhaps on another machine."""
    run = create_run(tmp_path / "here" / "a", kept, overwrite=False)
    there = tmp_path / "there" / "a"
    with alive_in(run.storage):
        while not (run.storage / ALIVE).exists():
            pass
        with pytest.raises(UserError, match="another process is at work on this run"):
            create_run(there, kept, overwrite=True)
    assert not there.exists()
    assert create_run(there, kept, overwrite=True).storage == run.storage


def test_the_place_in_a_storage_of_a_run_that_was_killed_is_replaced(kept, tmp_path, quick_beats):
    run = create_run(tmp_path / "here" / "a", kept, overwrite=False)
    (run.storage / ALIVE).write(b"the last beat")
    create_run(tmp_path / "there" / "a", kept, overwrite=True)
    assert run.storage.names() == ["experiment.yaml"]


def test_a_storage_place_that_is_the_folder_of_a_live_run_is_not_replaced(live, tmp_path):
    experiment = Experiment(resources={"storage_path": str(tmp_path)})
    with pytest.raises(UserError, match="another process is at work"):
        create_run(tmp_path / "elsewhere" / "live", experiment, overwrite=True)
    assert load_experiment(live / "experiment.yaml") == LIVE


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_files_in_the_storage_are_not_removed(kept, tmp_path, overwrite):
    thesis = Place.at(kept.resources.storage_path) / "a" / "thesis.txt"
    thesis.write(b"years of work")
    with pytest.raises(UserError, match="holds files that are no run"):
        create_run(tmp_path / "a", kept, overwrite=overwrite)
    assert thesis.read() == b"years of work"


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        runs = [stack.enter_context(claimed(None, LIVE, overwrite=False)) for _ in range(3)]
        assert len({run.path for run in runs}) == 3
        for run in runs:
            begin_run(run, LIVE)
    assert len(list((tmp_path / "runs").glob("live-*/experiment.yaml"))) == 3


@pytest.mark.parametrize("path", [None, "deep/er/run", "empty"])
def test_a_run_that_does_not_begin_leaves_no_folder(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    out = None if path is None else tmp_path / path
    with pytest.raises(KeyError), claimed(out, LIVE, overwrite=False):
        raise KeyError
    assert [file.name for file in tmp_path.rglob("*")] == ["empty"]


def test_a_run_that_was_killed_before_it_began_is_in_nobodys_way(tmp_path):
    (tmp_path / "run" / "log").mkdir(parents=True)
    (tmp_path / "run" / "log" / "lock").touch()
    assert create_run(tmp_path / "run", LIVE, overwrite=False).experiment.exists()


def odd_folders(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    yield from (tmp_path / name for name in ("file", "file/child", "dangling", "dangling/child"))
    yield from (tmp_path / name for name in ("loop", "loop/child", "full", "x" * 300, "y" * 5000))
    yield from ("/proc/run", "/proc/self/status", "/dev/null", "/sys/run")


@pytest.mark.parametrize("number", range(13))
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_out_that_cannot_be_used_is_told_in_a_sentence(tmp_path, number, overwrite):
    path = list(odd_folders(tmp_path))[number]
    with (
        pytest.raises(UserError, match=r"--out|cannot be written to"),
        claimed(Path(path), LIVE, overwrite=overwrite),
    ):
        pass


def test_a_link_to_an_empty_folder_takes_a_run(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    create_run(tmp_path / "link", LIVE, overwrite=False)
    create_run(tmp_path / "link", LIVE, overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert load_experiment(tmp_path / "empty" / "experiment.yaml") == LIVE


def test_overwriting_removes_links_and_not_what_they_lead_to(tmp_path):
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.jpg").touch()
    run = create_run(tmp_path / "run", LIVE, overwrite=False)
    (run.path / "link").symlink_to(tmp_path / "photographs")
    run.log.joinpath("link").symlink_to(tmp_path / "photographs")
    create_run(run.path, LIVE, overwrite=True)
    assert sorted(file.name for file in run.path.rglob("*")) == ["experiment.yaml", "lock", "log"]
    assert (tmp_path / "photographs" / "a.jpg").exists()


def test_a_run_folder_that_vanishes_is_told_in_a_sentence(tmp_path):
    def work():
        with claimed(tmp_path / "run", LIVE, overwrite=False) as run:
            begin_run(run, LIVE)
            shutil.rmtree(run.path)
            run.result.write_text("{}")

    with pytest.raises(RunFailedError, match="removed or renamed while this process"):
        work()


def test_fetching_a_run_follows_no_link_out_of_it(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shadow").write_text("hush")
    kept = Experiment(resources={"storage_path": str(tmp_path / "share")})
    run = create_run(tmp_path / "a", kept, overwrite=False)
    with RunLog(run.log, storage=run.storage) as log:
        log.append(RUN)
    (tmp_path / "share" / "a" / "etc").symlink_to(tmp_path / "etc")
    (tmp_path / "share" / "a" / "best.yaml").symlink_to(tmp_path / "etc" / "shadow")
    fetched = run_here(run.storage.address, tmp_path / "b")
    names = sorted(file.name for file in fetched.rglob("*") if file.is_file())
    assert names == ["events.jsonl", "experiment.yaml", "storage"]


def test_a_run_that_another_machine_began_meanwhile_is_not_replaced(kept, tmp_path, quick_beats):
    """Between the claim of a folder and the run's begin, all images are decoded."""
    for overwrite in (False, True):
        with ExitStack() as stack:
            stack.enter_context(pytest.raises(UserError, match=r"holds a run already|at work on"))
            claim = claimed(tmp_path / "there" / "a", kept, overwrite=overwrite)
            late = stack.enter_context(claim)
            run = create_run(tmp_path / "here" / "a", kept, overwrite=True)
            stack.enter_context(alive_in(run.storage))
            while not (run.storage / ALIVE).exists():
                pass
            (run.shared_model).write(b"model")
            begin_run(late, kept)
        assert run.shared_model.read() == b"model"
        run.storage.remove()


def test_a_process_leaves_the_sign_of_life_of_its_successor(tmp_path):
    storage = Place.at(tmp_path)
    with alive_in(storage):
        while not (storage / ALIVE).exists():
            pass
        (storage / ALIVE).write(b"of another")
    assert (storage / ALIVE).read() == b"of another"


def test_the_lock_of_a_run_that_did_not_begin_is_held_until_it_is_gone(tmp_path, monkeypatch):
    locks = []
    unmake = claim._unmake
    monkeypatch.setattr(
        claim,
        "_unmake",
        lambda log, made: (locks.append(run_lock.is_being_written(log)), unmake(log, made)),
    )
    with claimed(tmp_path / "run", LIVE, overwrite=False):
        pass
    assert locks == [True]
    assert not (tmp_path / "run").exists()
