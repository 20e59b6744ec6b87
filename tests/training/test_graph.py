"""Steps as one CUDA graph. What needs a GPU runs where there is one: `make gpu-check`."""

import pytest
import torch

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import load_checkpoint, save_checkpoint
from inat_ray.training.fit import Fit

EAGER = "recipe.cuda_graph=false"

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="captures a step on a GPU")

EVERYTHING = (
    "recipe.augmentation={rotate: 30, brightness: 0.2, erase: 0.5, mixup: 0.4, cutmix: 1.0}",
    "recipe.ema_decay=0.9",
    "recipe.gradient_clip=0.5",
)
RECIPES = [
    (),
    ("recipe.optimizer=sgd", "recipe.schedule=cosine"),
    ("recipe.optimizer=muon", "model.dropout=0.3"),
    EVERYTHING,
]


@pytest.fixture(scope="module")
def build(data_folder, small_settings):
    """Makes an experiment of 6 steps an epoch from --set lines."""

    def build(*settings: str) -> Experiment:
        own = [f"data.source={data_folder}", "recipe.epochs=4", "recipe.precision=fp32"]
        return load_experiment(None, settings=[*small_settings, *own, *settings])

    return build


@pytest.fixture(scope="module")
def data(build) -> DataSet:
    return open_dataset(build().data)


@pytest.fixture(autouse=True)
def repeatable(monkeypatch):
    """cuDNN by algorithms that give the same numbers every time."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def losses(fit: Fit, epochs: int) -> list[float]:
    return [fit.epoch().train_loss for _ in range(epochs)]


def is_captured(fit: Fit) -> bool:
    return fit._graph is not None and fit._graph._graph is not None


def test_on_a_cpu_nothing_is_captured(build, data):
    fit = Fit(build(), data, device=torch.device("cpu"))
    fit.epoch()
    assert fit._graph is None


@on_gpu
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda settings: " ".join(settings) or "default")
def test_a_captured_step_trains_as_an_eager_one(build, data, recipe):
    captured, eager = Fit(build(*recipe), data), Fit(build(*recipe, EAGER), data)
    assert losses(captured, 4) == pytest.approx(losses(eager, 4), rel=1e-4)
    assert is_captured(captured)
    assert not is_captured(eager)
    for name, tensor in captured.evaluated_model.state_dict().items():
        other = eager.evaluated_model.state_dict()[name]
        torch.testing.assert_close(tensor, other, rtol=1e-3, atol=1e-4, msg=name)


@on_gpu
@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[2], EVERYTHING])
def test_a_captured_training_goes_on_from_its_checkpoint_on_a_gpu_and_on_a_cpu(
    build, data, recipe, tmp_path
):
    whole, stopped = Fit(build(*recipe), data), Fit(build(*recipe), data)
    expected = losses(whole, 4)
    losses(stopped, 2)
    place = Place.at(tmp_path / "state.pt")
    save_checkpoint(place, stopped.state_dict())
    for name, tolerance in (("cuda", 1e-4), ("cpu", 0.05)):
        device = torch.device(name)
        resumed = Fit(build(*recipe), data, device=device)
        resumed.load_state_dict(load_checkpoint(place, device))
        if name == "cuda" or "dropout" not in " ".join(recipe):  # devices draw differently
            assert losses(resumed, 2) == pytest.approx(expected[2:], rel=tolerance)


@on_gpu
def test_a_step_is_captured_anew_when_a_layer_thaws(build, data):
    resnet = "model={kind: resnet, backbone: resnet18, weights: none, cache_features: false, "
    gradual = resnet + "freeze: {strategy: gradual, every: 2}}"
    captured, eager = Fit(build(gradual), data), Fit(build(gradual, EAGER), data)
    assert losses(captured, 4) == pytest.approx(losses(eager, 4), rel=1e-3)


@on_gpu
def test_a_step_is_captured_anew_when_images_grow(build, data):
    grows = ("model.global_pool=true", "data.image_size=64", "recipe.initial_scale=0.5")
    captured, eager = Fit(build(*grows), data), Fit(build(*grows, EAGER), data)
    assert losses(captured, 4) == pytest.approx(losses(eager, 4), rel=1e-3)


@on_gpu
@pytest.mark.parametrize("graph", ["true", "false"])
def test_the_host_waits_for_nothing_within_an_epoch(build, data, graph):
    fit = Fit(build(*EVERYTHING, f"recipe.cuda_graph={graph}"), data)
    fit.epoch()
    fit.prepare(1)
    plans = list(fit.inputs.batches.plans(1))
    lr = torch.tensor(0.01, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for plan in plans:
            fit._planned_step(plan, lr)
    finally:
        torch.cuda.set_sync_debug_mode("default")
