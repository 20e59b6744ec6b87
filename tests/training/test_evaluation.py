import pytest
import torch

from inat_ray.config.load import load_experiment
from inat_ray.data.augment import Normalize
from inat_ray.data.dataset import open_dataset
from inat_ray.models.build import build_model
from inat_ray.training import evaluation
from inat_ray.training.evaluation import PixelViews, equal_size, evaluate


@pytest.mark.parametrize(
    ("count", "size"), [(0, 1), (1, 1), (512, 512), (513, 257), (1500, 500), (1537, 385)]
)
def test_batches_on_a_gpu_are_few_and_equal(count, size):
    assert equal_size(count, most=512) == size


def test_on_a_gpu_every_batch_has_one_shape_and_every_image_counts_once(
    data_folder, small_settings, monkeypatch
):
    settings = [*small_settings, f"data.source={data_folder}", "device=cpu"]
    experiment = load_experiment(None, settings=settings)
    data, device = open_dataset(experiment.data), torch.device("cpu")
    model = build_model(experiment, classes=len(data.classes), weights=None)
    normalize = Normalize(data.mean, data.std, device)
    views = PixelViews.of(experiment, data, "test", normalize=normalize, device=device)
    classes, recipe = len(data.classes), experiment.recipe
    expected = evaluate(model, views, classes=classes, recipe=recipe)
    monkeypatch.setitem(evaluation.GPU_BATCH_SIZE, "cpu", 4)
    shapes = []
    model.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape[0]))
    found = evaluate(model, views, classes=classes, recipe=recipe)
    assert (len(views), shapes) == (15, [4, 4, 4, 4])
    torch.testing.assert_close(found.probabilities, expected.probabilities)
    assert torch.equal(found.tally.confusion, expected.tally.confusion)
