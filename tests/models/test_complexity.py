import pytest
import torch

from inat_ray.config.experiment import CnnConfig
from inat_ray.models.cnn import build_cnn
from inat_ray.models.complexity import complexity


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
    config = CnnConfig(
        filters=[filters] * 5, kernel_sizes=[kernel] * 5, dense=dense, batch_norm=False
    )
    model = build_cnn(config, classes=10, image_size=size)
    counted = complexity(model, size)
    sizes = {"size": size, "kernel": kernel, "filters": filters, "dense": dense}
    assert counted.macs == macs_by_formula(**sizes)
    assert counted.parameters == parameters_by_formula(**sizes)


def test_counting_leaves_the_model_as_it_was():
    model = build_cnn(CnnConfig(), classes=3, image_size=32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    complexity(model, 32)
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
