import pytest

from inat_ray.config.errors import UserError
from inat_ray.log.run_log import RunLog
from inat_ray.run.contents import read_contents, read_whole
from inat_ray.run.folder import RunFolder
from tests.run.made_up_runs import cut_off_run, finished_run, make_run, search_records


def test_a_damaged_part_leaves_the_others_readable(tmp_path):
    path = finished_run(tmp_path / "a")
    (path / "experiment.yaml").write_text("name: [")
    found = read_contents(path)
    assert (list(found.problems), found.state) == (["experiment"], "damaged")
    assert len(found.history.searched) == 2
    assert found.result["data"]["classes"] == ["ash"]
    found.check("log", "result")
    with pytest.raises(UserError, match=r"experiment\.yaml"):
        found.check("log", "experiment")


def test_a_log_counts_up_to_a_damaged_line(tmp_path):
    path = make_run(tmp_path / "a", search_records())
    events = RunFolder(path).events
    lines = events.read_text().splitlines(keepends=True)
    events.write_text("".join([*lines[:4], "{}\n", *lines[4:]]))
    found = read_contents(path)
    assert [trial.trial_id for trial in found.history.trials.values()] == ["a"]
    assert "line 5" in str(found.problems["log"])
    with pytest.raises(UserError, match="line 5"):
        read_whole(path)


def test_a_run_is_the_same_in_its_place_in_a_storage_but_for_who_is_at_work(tmp_path, bucket):
    for share in (str(tmp_path / "share"), bucket):
        here = cut_off_run(tmp_path / "here" / share[-3:], resources={"storage_path": share})
        stored = read_contents(f"{share}/{here.name}")
        own = read_contents(here)
        assert (stored.history, stored.changed) == (own.history, own.changed)
        assert (own.is_storage, own.state) == (False, "cut off")
        assert (stored.is_storage, stored.state) == (True, "running or cut off")


def test_a_run_with_a_process_at_work_is_running_even_if_damaged(tmp_path):
    path = cut_off_run(tmp_path / "a")
    (path / "result.json").write_text("{")
    with RunLog(path / "log"):
        assert read_contents(path).state == "running"
    assert read_contents(path).state == "damaged"


@pytest.mark.parametrize(("name", "reason"), [("none", "no such folder"), (".", "holds no run")])
def test_where_there_is_no_run_is_said(tmp_path, name, reason):
    with pytest.raises(UserError, match=reason):
        read_contents(tmp_path / name)
