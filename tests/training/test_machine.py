import os

from inat_ray.training.machine import machine, memory_bytes, processor, stand_back, usable_cores


def test_the_processor_is_named_as_its_maker_writes_it(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nmodel name\t: Acme: One 9000\n\nprocessor\t: 1\n")
    assert processor(listing) == "Acme: One 9000"


def test_a_listing_without_a_name_leaves_it_to_python(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("Hardware: a board\n")
    assert processor(listing) == processor(tmp_path / "nothing") != ""


def test_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == machine()["cores"] == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert usable_cores() == len(allowed)


def test_a_process_stands_back_as_far_as_it_should_and_never_forward(monkeypatch):
    raised = []
    monkeypatch.setattr(os, "nice", lambda by: raised.append(by) or 5)
    stand_back(12)
    stand_back(3)
    assert raised == [0, 7, 0, 0]


def test_a_container_may_have_less_memory_than_its_machine(tmp_path):
    limit = tmp_path / "memory.max"
    there = memory_bytes(limit)
    assert there > 0
    for written, found in (("max\n", there), ("1000000\n", 1_000_000), (f"{2 * there}\n", there)):
        limit.write_text(written)
        assert memory_bytes(limit) == found
