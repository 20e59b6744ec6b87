from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import inat_ray
from tests.conftest import CLASSES


@pytest.fixture(scope="module")
def saved(save_untrained, tmp_path_factory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("saved") / "best.safetensors")


def test_a_model_says_the_same_of_a_path_a_picture_and_an_array(saved, data_folder):
    model = inat_ray.load(saved)
    path = data_folder / "val" / "ash" / "00.png"
    picture = Image.open(path)
    from_path, from_picture, from_array = model.predict([path, picture, np.asarray(picture)])
    assert model.classes == list(CLASSES)
    assert from_path.image == path
    assert from_picture.image is picture
    assert from_path.probabilities == from_picture.probabilities == from_array.probabilities
    assert from_path.label == max(from_path.probabilities, key=from_path.probabilities.get)
    assert sum(from_path.probabilities.values()) == pytest.approx(1)


def test_a_model_takes_folders_and_names_what_it_cannot_read(saved, data_folder, tmp_path):
    model = inat_ray.load(saved.parent, device="cpu")
    assert len(model.predict(str(data_folder / "val"))) == 15
    (tmp_path / "torn.png").write_bytes(b"no picture")
    [torn] = model.predict(tmp_path)
    assert torn.label is None
    assert torn.reason
    with pytest.raises(inat_ray.UserError, match="there is no such file"):
        model.predict(tmp_path / "nothing.png")


def test_the_network_of_a_model_is_a_plain_module(saved):
    model = inat_ray.load(saved, device="cpu")
    assert isinstance(model.model, torch.nn.Module)
    assert model.model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
