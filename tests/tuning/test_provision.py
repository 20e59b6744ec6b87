"""The pack on its way through a real Ray, to a cache that lacks it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.data.pack import NoRoomError, reopen_pack
from inat_ray.run.folder import RunFolder
from inat_ray.tuning import provision
from inat_ray.tuning.provision import provisioned
from tests.run.made_up_runs import create_run

pytestmark = pytest.mark.usefixtures("ray_instance")


@pytest.fixture(scope="module")
def data(data_folder, small_settings) -> DataSet:
    settings = [*small_settings, f"data.source={data_folder}"]
    return open_dataset(load_experiment(None, settings=settings).data)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    experiment = Experiment(resources={"storage_path": str(tmp_path / "share")})
    return create_run(tmp_path / "run", experiment, overwrite=False)


def on_another_node(data: DataSet, cache: Path) -> DataSet:
    """The data as a node sees them whose photographs are nowhere and whose cache is empty."""
    settings = {"cache": str(cache), "source": "/not/on/this/node"}
    return replace(data, config=data.config.model_copy(update=settings))


def received(data: DataSet) -> DataSet:
    there: DataSet = ray.get(ray.put(data))
    return there


def test_a_node_without_the_photographs_gets_the_pack_whole(data, run, tmp_path, monkeypatch):
    monkeypatch.setattr(provision, "PART", 10_000)  # so that there are many
    with provisioned(data, run=run, tell=print) as shared:
        there = received(on_another_node(shared, tmp_path / "cache"))
    assert there.pack.path.is_relative_to(tmp_path / "cache")
    assert there.pack.path.read_bytes() == data.pack.path.read_bytes()
    assert np.array_equal(there.pack.images, data.pack.images)
    assert [p.name for p in there.pack.path.parent.glob("*.partial")] == []


def test_a_node_that_has_the_pack_asks_for_nothing(data, run, tmp_path):
    with provisioned(data, run=run, tell=print) as shared:
        elsewhere = on_another_node(shared, tmp_path / "cache")
        received(elsewhere)
    received(elsewhere)  # the server is gone by now


def test_of_two_processes_of_a_node_one_fetches(data, run, tmp_path):
    with provisioned(data, run=run, tell=print) as shared:
        elsewhere = on_another_node(shared, tmp_path / "cache")
        paths = ray.get([ray.remote(_path_there).remote([elsewhere]) for _ in range(2)])
    assert len(set(paths)) == 1


def _path_there(held: list[DataSet]) -> str:
    return str(held[0].pack.path)


def test_a_disk_without_room_is_told_and_left_clean(data, run, small_disk):
    with provisioned(data, run=run, tell=print) as shared:
        (small_disk / "filler").write_bytes(bytes(900_000))
        elsewhere = on_another_node(shared, small_disk / "cache")
        with pytest.raises(NoRoomError, match=r"data\.cache: .* has 0 MB free, the pack needs 0"):
            reopen_pack(elsewhere.config, elsewhere.pack.path.name, elsewhere.supply)
    assert list((small_disk / "cache" / "packs").glob("*.partial")) == []


def test_a_run_on_one_node_starts_nothing(data, tmp_path):
    run = create_run(tmp_path / "run", Experiment(), overwrite=False)
    with provisioned(data, run=run, tell=print) as same:
        assert same is data
