"""The pictures of what a model looks at."""

import pytest
from torch import Tensor, nn

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.models.build import build_model
from inat_ray.page.explanation import NEURONS, explanation_section
from inat_ray.training.checkpoint import LoadedModel


@pytest.fixture(scope="module")
def data(data_folder, small_settings):
    return open_dataset(
        load_experiment(None, settings=[*small_settings, f"data.source={data_folder}"]).data
    )


KINDS = {
    "cnn": "{kind: cnn, filters: [4, 4, 8, 8, 8], dense: 8}",
    "resnet": "{kind: resnet, backbone: resnet18, weights: none}",
    "vit": "{kind: pretrained, source: timm, backbone: vit_tiny_patch16_224, weights: none}",
}


@pytest.fixture
def explained(data, data_folder, small_settings, tmp_path):
    """An untrained model, or a network in the place of one."""

    def build(kind: str = "cnn", network: nn.Module | None = None) -> LoadedModel:
        kept = [line for line in small_settings if not line.startswith("model.")]
        settings = [*kept, f"model={KINDS[kind]}", f"data.source={data_folder}"]
        experiment = load_experiment(None, settings=settings)
        built = network or build_model(experiment, classes=len(data.classes), weights=None)
        return LoadedModel(
            path=tmp_path / "m",
            experiment=experiment,
            classes=data.classes,
            epoch=1,
            mean=data.mean,
            std=data.std,
            members=(experiment,),
            model=built,
        )

    return build


@pytest.fixture
def model(explained) -> LoadedModel:
    return explained()


@pytest.mark.parametrize(("kind", "sizes", "neurons"), [("cnn", 5, 8), ("resnet", 4, NEURONS)])
def test_filters_maps_neurons_and_evidence_are_all_there(explained, data, kind, sizes, neurons):
    body = explanation_section(explained(kind), data).body
    assert body.count("Guided gradient of channel") == neurons
    assert body.count("Feature maps after") == sizes
    assert body.count('alt="Grad-CAM, ') == 8
    assert "of the first layer" in body
    assert "missing" not in body


def test_what_attention_does_not_allow_is_said_and_the_rest_is_there(explained, data):
    body = explanation_section(explained("vit"), data).body
    assert "Not for this network: it has attention" in body
    assert body.count("missing") == 1
    assert body.count('alt="Grad-CAM, ') == 8
    assert "192 filters of the first layer" in body


class Raises(nn.Module):
    """Works on the first image, and never again."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(3 * 32 * 32, 3), 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("<out of order>")
        result: Tensor = self.layer(images.flatten(1))
        return result


DENSE = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (DENSE, "none of its layers makes a map of the image"),
        (Raises(), "(RuntimeError: &lt;out of order&gt;)"),
    ],
    ids=["dense", "raises"],
)
def test_a_network_of_ones_own_that_cannot_be_explained_does_not_end_the_page(
    explained, data, network, said
):
    body = explanation_section(explained(network=network), data).body
    assert "its first layer is no convolution on the three colors" in body
    assert body.count(said) == 3


def test_the_photographs_are_no_test_images(model, data, monkeypatch):
    section = explanation_section(model, data)
    assert "test" not in section.body.replace("data:image", "")
    blank = data.pack.images.copy()
    blank[data.subset("test")] = 0
    changed = data.__class__(
        **(vars(data) | {"pack": data.pack.__class__(**(vars(data.pack) | {"images": blank}))})
    )
    assert explanation_section(model, changed).body == section.body


def test_without_photographs_the_filters_are_shown_and_the_rest_is_said_to_be_missing(model):
    body = explanation_section(model, None).body
    assert body.count("<img") == 1
    assert "photographs are not available" in body
