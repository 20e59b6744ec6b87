import os
import time

import pytest
from filelock import FileLock
from PIL import Image

from inat_ray.data.pack import open_pack
from inat_ray.log.run_log import RunLog
from inat_ray.run.cleanup import (
    carry_out,
    obstacle,
    plan_for_packs,
    plan_for_runs,
    why_not_needed,
)
from inat_ray.run.folder import RunFolder
from inat_ray.run.listing import Run, find_runs, read_run
from tests.run.made_up_runs import (
    cut_off_run,
    finished_run,
    make_run,
    search_records,
    write_log,
)

KEPT = {
    "best.safetensors", "trials.parquet", "report.html", "notes.txt", "experiment.yaml",
    "result.json", "tensorboard", "log", "snapshots",
}  # fmt: skip

USED, UNUSED = "1" * 24, "2" * 24


def plan_for(folder, *, named=False, older_than=None, now=None):
    now = time.time() if now is None else now
    return plan_for_runs(find_runs(folder), named=named, older_than=older_than, now=now)


def packs_for(folder, *, older_than=None, now=None):
    now = time.time() if now is None else now
    return plan_for_packs(find_runs(folder), older_than=older_than, now=now)


def removed_names(plan) -> list[str]:
    return [removal.path.name for removal in plan.removals]


@pytest.fixture
def cache(tmp_path):
    """A cache with two packs, what a killed build left, a lock and a stranger."""
    packs = tmp_path / "cache" / "packs"
    (packs / f"{'3' * 24}.building").mkdir(parents=True)
    (packs / f"{'3' * 24}.building" / "pixels").write_bytes(b"x" * 50)
    for name in (f"{USED}.pack", f"{UNUSED}.pack", f"{'4' * 24}.partial", "thesis.pack"):
        (packs / name).write_bytes(b"x" * 10)
    (tmp_path / "cache" / "important.pack").write_bytes(b"x")
    return tmp_path / "cache"


def test_of_a_run_that_is_over_only_left_overs_go(tmp_path):
    path = finished_run(tmp_path / "runs" / "a")
    plan = plan_for(tmp_path / "runs")
    assert removed_names(plan) == ["checkpoints", "weights", "best.safetensors.partial"]
    assert plan.size == 1230
    gone, problems = carry_out(plan)
    assert (gone.size, problems) == (1230, [])
    assert {entry.name for entry in path.iterdir()} == KEPT
    assert read_run(path).state == "finished"


def test_nothing_is_removed_by_planning(tmp_path):
    path = finished_run(tmp_path / "a")
    before = sorted(path.rglob("*"))
    plan_for(tmp_path)
    assert sorted(path.rglob("*")) == before


def test_a_run_that_can_be_resumed_stays_unless_it_is_named(tmp_path):
    path = cut_off_run(tmp_path / "a")
    plan = plan_for(tmp_path)
    assert plan.removals == []
    [note] = plan.notes
    assert "is cut off, and may be resumed; name it" in note
    assert removed_names(plan_for(path, named=True)) == ["checkpoints"]


def test_a_run_that_is_being_written_stays_even_if_it_is_named(tmp_path):
    path = finished_run(tmp_path / "a")
    with RunLog(path / "log"):
        assert plan_for(path, named=True).removals == []
    assert plan_for(path).removals != []


def test_a_run_that_somebody_begins_to_write_after_the_question_stays(tmp_path):
    path = finished_run(tmp_path / "a")
    plan = plan_for(tmp_path)
    with RunLog(path / "log"):
        gone, problems = carry_out(plan)
    assert gone.removals == []
    assert len(problems) == 3
    assert all("is in use now" in problem for problem in problems)
    assert (path / "checkpoints").exists()


def test_links_are_neither_followed_nor_removed(tmp_path):
    path = finished_run(tmp_path / "runs" / "a")
    elsewhere = tmp_path / "elsewhere"
    (path / "checkpoints").rename(elsewhere)
    (path / "checkpoints").symlink_to(elsewhere)
    (path / "weights" / "link").symlink_to(elsewhere)
    (path / "x.partial").symlink_to(elsewhere / "a" / "epoch_0001.pt")
    plan = plan_for(tmp_path / "runs")
    assert removed_names(plan) == ["weights", "best.safetensors.partial"]
    carry_out(plan)
    assert (elsewhere / "a" / "epoch_0001.pt").exists()
    assert (path / "checkpoints").is_symlink()


def test_a_folder_that_became_a_link_after_the_question_stays(tmp_path):
    path = finished_run(tmp_path / "runs" / "a")
    plan = plan_for(tmp_path / "runs")
    (path / "checkpoints").rename(tmp_path / "elsewhere")
    (path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    _, problems = carry_out(plan)
    assert [problem for problem in problems if "is a link now" in problem]
    assert (tmp_path / "elsewhere" / "a" / "epoch_0001.pt").exists()


def test_only_what_is_older_goes(tmp_path):
    path = finished_run(tmp_path / "a")
    assert plan_for(tmp_path, older_than=1).removals == []
    assert plan_for(tmp_path, older_than=1, now=time.time() + 90_000).removals != []
    os.utime(path / "notes.txt", (time.time() + 80_000,) * 2)
    assert plan_for(tmp_path, older_than=1, now=time.time() + 90_000).removals == []


def test_of_a_run_in_a_storage_only_what_is_here_goes(tmp_path):
    share = tmp_path / "share"
    path = finished_run(tmp_path / "runs" / "a", resources={"storage_path": str(share)})
    (share / "a" / "checkpoints").mkdir()
    (share / "a" / "checkpoints" / "c.pt").write_bytes(b"x")
    plan = plan_for(tmp_path)
    assert all(removal.path.is_relative_to(path) for removal in plan.removals)
    assert [note for note in plan.notes if "stays there" in note]
    carry_out(plan)
    assert (share / "a" / "checkpoints" / "c.pt").exists()
    assert not (path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("changes", "named", "reason"),
    [
        ({}, False, None),
        ({"state": "running"}, True, "is being written"),
        ({"is_storage": True}, True, "place in a storage"),
        ({"state": "damaged"}, False, "is damaged"),
        ({"state": "damaged"}, True, None),
        ({"state": "failed"}, False, "may be resumed"),
    ],
)
def test_what_may_be_cleaned(tmp_path, changes, named, reason):
    run = Run(**{"path": tmp_path, "name": "a", "kind": "train", "state": "finished", "begun": 0.0,
                 "changed": 0.0, "size": 1} | changes)  # fmt: skip
    found = obstacle(run, named=named, older_than=None, now=1.0)
    assert found is None if reason is None else reason in found


def test_packs_that_no_run_uses_and_what_killed_builds_left_go(tmp_path, cache):
    finished_run(tmp_path / "runs" / "a", pack=USED, data={"cache": str(cache)})
    plan = packs_for(tmp_path / "runs")
    assert removed_names(plan) == [f"{UNUSED}.pack", f"{'3' * 24}.building", f"{'4' * 24}.partial"]
    assert plan.size == 70
    carry_out(plan)
    left = {path.name for path in (cache / "packs").iterdir()} - {"build.lock"}
    assert left == {f"{USED}.pack", "thesis.pack"}
    assert (cache / "important.pack").exists()


def test_a_pack_of_a_run_without_result_is_known_by_its_images(tmp_path):
    folder, cache = tmp_path / "photographs", tmp_path / "cache"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for n in range(5):
            Image.new("RGB", (40, 40), (n, 0, 0)).save(folder / name / f"{n}.png")
    data = {"source": str(folder), "cache": str(cache), "image_size": 32}
    path = cut_off_run(tmp_path / "runs" / "a", data=data)
    pack = open_pack(read_run(path).experiment.data).path
    (cache / "packs" / f"{UNUSED}.pack").write_bytes(b"x")
    assert pack.exists()
    assert removed_names(packs_for(tmp_path / "runs")) == [f"{UNUSED}.pack"]
    folder.rename(tmp_path / "away")
    plan = packs_for(tmp_path / "runs")
    assert plan.removals == []
    assert "packs stay" in plan.notes[0]


def test_while_a_pack_is_built_none_goes(tmp_path, cache):
    finished_run(tmp_path / "runs" / "a", pack=USED, data={"cache": str(cache)})
    plan = packs_for(tmp_path / "runs")
    with FileLock(cache / "packs" / "build.lock"):
        gone, problems = carry_out(plan)
    assert (gone.removals, len(problems)) == ([], 3)


def test_packs_that_are_links_or_in_a_folder_that_is_one_stay(tmp_path, cache):
    finished_run(tmp_path / "runs" / "a", pack=USED, data={"cache": str(cache)})
    (cache / "packs" / f"{UNUSED}.pack").rename(tmp_path / "elsewhere")
    (cache / "packs" / f"{UNUSED}.pack").symlink_to(tmp_path / "elsewhere")
    assert f"{UNUSED}.pack" not in removed_names(packs_for(tmp_path / "runs"))
    (cache / "packs").rename(tmp_path / "packs")
    (cache / "packs").symlink_to(tmp_path / "packs")
    assert packs_for(tmp_path / "runs").removals == []


def test_young_packs_stay(tmp_path, cache):
    finished_run(tmp_path / "runs" / "a", pack=USED, data={"cache": str(cache)})
    assert packs_for(tmp_path / "runs", older_than=1).removals == []
    later = time.time() + 90_000
    assert len(packs_for(tmp_path / "runs", older_than=1, now=later).removals) == 3


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        (f"{UNUSED}.pack", True),
        (f"{USED}.pack", False),
        (f"{UNUSED}.arrow", True),
        (f"{USED}.building", True),
        (f".{'5' * 32}.partial", True),
        ("build.lock", False),
        ("thesis.pack", False),
        (f"{UNUSED}.pack.bak", False),
    ],
)
def test_only_what_is_called_like_a_pack_is_one(name, goes):
    assert (why_not_needed(name, used={f"{USED}.pack"}) is not None) is goes


def test_no_pack_goes_where_one_of_the_used_is_unknown():
    assert why_not_needed(f"{UNUSED}.pack", used=None) is None
    assert why_not_needed(f"{UNUSED}.building", used=None) is not None


def test_a_run_without_a_log_is_cleaned_too(tmp_path):
    path = make_run(tmp_path / "a", search_records(), result={"name": "a"})
    write_log(RunFolder(path), [])
    for file in (path / "log").iterdir():
        file.unlink()
    (path / "log").rmdir()
    (path / "x.partial").write_bytes(b"x")
    gone, problems = carry_out(plan_for(tmp_path))
    assert (removed_names(gone), problems) == (["x.partial"], [])
