import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.model import CnnConfig
from inat_ray.models.build import build_model, structure_of
from inat_ray.models.complexity import Complexity, complexity


def macs_by_formula(*, size: int, kernel: int, filters: int, dense: int) -> float:
    """Five layers of m filters of k x k with same padding, pooled by 2; 10 classes."""
    s, k, m, n = size, kernel, filters, dense
    return s**2 * k**2 * m * (3 + 85 * m / 256) + m * (s / 32) ** 2 * n + 10 * n


def parameters_by_formula(*, size: int, kernel: int, filters: int, dense: int) -> float:
    """Biases counted; batch norm is off."""
    s, k, m, n = size, kernel, filters, dense
    convolutions = (3 * k**2 * m + m) + 4 * (k**2 * m**2 + m)
    return convolutions + (m * (s // 32) ** 2 * n + n) + (10 * n + 10)


@pytest.mark.parametrize(
    ("size", "kernel", "filters", "dense"), [(32, 3, 32, 128), (64, 5, 16, 256), (128, 7, 8, 64)]
)
def test_counts_agree_with_the_closed_formula(size, kernel, filters, dense):
    model = CnnConfig(
        filters=[filters] * 5, kernel_sizes=[kernel] * 5, dense=dense, batch_norm=False
    )
    experiment = Experiment.model_validate({"data": {"image_size": size}, "model": model})
    counted = complexity(experiment, classes=10)
    sizes = {"size": size, "kernel": kernel, "filters": filters, "dense": dense}
    assert counted.macs == counted.backward_macs == macs_by_formula(**sizes)
    assert counted.parameters == counted.trainable_parameters == parameters_by_formula(**sizes)


def resnet50(freeze: str) -> Complexity:
    """For 10 classes at 224 pixels."""
    settings = ["model={kind: resnet}", f"model.freeze={{{freeze}}}"]
    return complexity(load_experiment(None, settings=settings), classes=10)


def test_a_resnet50_has_its_published_size():
    """25.56 M parameters and 4.09 G MACs with 1,000 classes (torchvision's own table)."""
    counted = resnet50("strategy: none")
    assert counted.layers == counted.trained_layers == 54
    assert counted.parameters == counted.trainable_parameters == 25_557_032 - 2049 * 990
    assert counted.macs == counted.backward_macs == pytest.approx(4.09e9, rel=0.01)


def test_the_head_alone_is_a_twentieth_of_a_percent_of_the_work_back():
    counted = resnet50("strategy: head_only")
    assert (counted.trained_layers, counted.trainable_parameters) == (1, 20_490)
    assert counted.backward_macs == 20_480


def test_a_frozen_head_saves_nothing_of_the_work_back():
    counted = resnet50("strategy: freeze_fc")
    assert counted.trainable_parameters == counted.parameters - 20_490
    assert counted.backward_macs == counted.macs


def test_four_fifths_frozen_leaves_a_fifth_of_the_work_back():
    counted = resnet50("strategy: fraction, fraction: 0.8")
    assert counted.trained_layers == 11
    assert counted.backward_macs / counted.macs == pytest.approx(0.2, abs=0.02)


def test_a_gradual_freeze_counts_as_it_ends():
    assert resnet50("strategy: gradual, every: 100").trained_layers == 1
    assert resnet50("strategy: gradual, every: 1").trained_layers == 54


@pytest.mark.parametrize(
    "model",
    [
        "{kind: cnn}",
        "{kind: pretrained, weights: none, backbone: swin_t}",
        "{kind: pretrained, weights: none, source: timm, backbone: vit_tiny_patch16_224}",
    ],
)
def test_a_network_with_its_weights_counts_as_one_without(model):
    """Attention on a CPU is another operation than on the meta device, and the same work."""
    experiment = load_experiment(None, settings=[f"model={model}"])
    whole = build_model(experiment, classes=10, weights=None)
    structure = structure_of(whole, experiment, classes=10, count_macs=True)
    assert sum(structure.macs) == complexity(experiment, classes=10).macs
