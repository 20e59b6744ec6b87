import pickle

import pytest
import torch
from safetensors.torch import save_file

from inat_ray.config.errors import UserError
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import load_checkpoint, load_model, save_checkpoint

CPU = torch.device("cpu")


def test_a_checkpoint_comes_back_and_leaves_nothing_beside_it(tmp_path):
    place = Place.at(tmp_path / "deep" / "epoch_0001.pt")
    save_checkpoint(place, {"epochs_done": 3, "weights": torch.ones(2)})
    assert load_checkpoint(place, CPU)["epochs_done"] == 3
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["epoch_0001.pt"]


def test_on_a_full_disk_the_checkpoint_before_stands(small_disk):
    place = Place.at(small_disk / "epoch_0001.pt")
    save_checkpoint(place, {"weights": torch.ones(100_000)})
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(place, {"weights": torch.zeros(200_000)})
    assert load_checkpoint(place, CPU)["weights"].all()
    assert [p.name for p in small_disk.iterdir()] == ["epoch_0001.pt"]


class Attack:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Attack(), protocol=2)])
def test_a_file_that_is_no_checkpoint_is_refused_and_never_run(tmp_path, content, capsys):
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad\.pt"):
        load_checkpoint(Place.at(path), CPU)
    assert "ran" not in capsys.readouterr().out


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"junk")
    with pytest.raises(UserError, match="no model"):
        load_model(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.ones(1)}, path)
    with pytest.raises(UserError, match="no model"):
        load_model(path)
