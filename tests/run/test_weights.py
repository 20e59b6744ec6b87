"""Weights in files of the head node, as the other nodes of a run are told of them."""

import shutil
from pathlib import Path

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.config.trial import trial_experiment
from inat_ray.run.folder import RunFolder
from inat_ray.run.weights import stored_weights, with_reachable_weights, with_weights_at
from inat_ray.storage.place import Place
from tests.run.made_up_runs import create_run


@pytest.fixture
def run(tmp_path) -> RunFolder:
    experiment = Experiment(resources={"storage_path": str(tmp_path / "share")})
    return create_run(tmp_path / "run", experiment, overwrite=False)


@pytest.fixture
def weights_file(tmp_path) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"whatever a state dict would be")
    return path


def resnet_beginning_with(weights: str) -> Experiment:
    return Experiment(model={"kind": "resnet", "weights": weights})


def weights_of(experiment: Experiment) -> str:
    return experiment.model.model_dump()["weights"]


def test_weights_that_are_a_file_here_are_a_copy_in_the_storage_there(run, weights_file):
    twice = [
        with_reachable_weights(resnet_beginning_with(str(weights_file)), run=run) for _ in range(2)
    ]
    assert twice[0] == twice[1]
    copy = Place.at(weights_of(twice[0]))
    assert copy.read() == weights_file.read_bytes()
    assert run.storage is not None
    assert (run.storage / "weights").names() == [copy.last_name]


@pytest.mark.parametrize("weights", ["imagenet1k_v2", "none", "s3://elsewhere/weights.pth"])
def test_weights_that_every_node_finds_by_itself_stay_as_they_are(run, weights):
    experiment = resnet_beginning_with(weights)
    assert with_reachable_weights(experiment, run=run) == experiment


def test_on_one_node_weights_stay_where_they_are(tmp_path, weights_file):
    run = create_run(tmp_path / "alone", Experiment(), overwrite=False)
    experiment = resnet_beginning_with(str(weights_file))
    assert with_reachable_weights(experiment, run=run) == experiment


def resnet(weights: Path) -> dict[str, str]:
    return {"kind": "resnet", "backbone": "resnet18", "weights": str(weights)}


def searches(one: Path, other: Path) -> list[tuple[dict, list[dict]]]:
    """Each way to search weights: (search.parameters, the points of its two trials)."""
    setting = {"model.weights": {"values": [str(one), str(other)]}}
    kinds = {
        "model.kind": {"values": ["cnn", "resnet"]},
        "model.weights": {"when": {"model.kind": "resnet"}, "values": [str(one), str(other)]},
    }
    models = {"model": {"values": [resnet(one), resnet(other)]}}
    return [
        (setting, [{"model.weights": str(each)} for each in (one, other)]),
        (kinds, [{"model.kind": "resnet", "model.weights": str(each)} for each in (one, other)]),
        (models, [{"model": resnet(each)} for each in (one, other)]),
    ]


@pytest.mark.parametrize("way", [0, 1, 2], ids=["values", "when", "whole models"])
def test_weights_that_are_searched_are_copied_before_a_trial_begins_with_them(
    run, weights_file, way
):
    other = weights_file.with_name("others.safetensors")
    other.write_bytes(b"other weights")
    parameters, points = searches(weights_file, other)[way]
    base = Experiment(model=resnet(weights_file), search={"parameters": parameters})
    copies = stored_weights(base, run=run)
    for point, file in zip(points, (weights_file, other), strict=True):
        trial = trial_experiment(base, parameters=point, seed=0)
        assert weights_of(trial) == str(file)
        copy = Place.at(weights_of(with_weights_at(trial, copies)))
        assert copy.read() == file.read_bytes()
        assert copy.last_name.endswith(file.suffix)


def test_a_winner_that_began_with_searched_weights_begins_with_a_copy_too(run, weights_file):
    other = weights_file.with_name("others.pth")
    shutil.copy(weights_file, other)
    search = {"parameters": {"model.weights": {"values": ["none", str(other)]}}}
    base = Experiment(model=resnet(weights_file), search=search)
    winner = trial_experiment(base, parameters={"model.weights": str(other)}, seed=0)
    assert Place.at(weights_of(with_reachable_weights(winner, run=run))).exists()


def test_a_file_that_an_argument_of_an_own_network_names_stays_where_it_is(run, weights_file):
    model = {"kind": "module", "target": "net.py:Net", "args": {"weights": str(weights_file)}}
    assert stored_weights(Experiment(model=model), run=run) == {}
