import torch
from safetensors.torch import save_file

from inat_ray.config.experiment import Experiment
from inat_ray.models.build import build_model
from inat_ray.training.checkpoint import LoadedModel, load_model
from inat_ray.training.ensemble import join

CPU = torch.device("cpu")
VIT = {"kind": "pretrained", "source": "timm", "backbone": "test_vit_relpos", "weights": "none"}


def saved(path, seed: int) -> LoadedModel:
    """A model with indices that no file has: it computes them when it is built."""
    experiment = Experiment.model_validate(
        {"model": VIT, "data": {"image_size": 160}, "seed": seed}
    )
    about = {
        "experiment": experiment.model_dump_json(),
        "classes": '["ash", "beech"]',
        "mean": "[0.5, 0.5, 0.5]",
        "std": "[0.2, 0.2, 0.2]",
        "epoch": str(seed),
    }
    model = build_model(experiment, classes=2, weights=None)
    save_file(model.state_dict(), path, metadata=about)
    return load_model(path)


def test_networks_that_compute_what_no_file_has_are_whole_again(tmp_path):
    members = [saved(tmp_path / f"{seed}.safetensors", seed) for seed in (3, 5)]
    join(members, tmp_path / "joined.safetensors")
    joined = load_model(tmp_path / "joined.safetensors")
    assert [each.seed for each in joined.members] == [3, 5]
    assert joined.epoch == 5
    images = torch.rand(2, 3, 160, 160)
    with torch.no_grad():
        each = [m.model_on(CPU).eval()(images).softmax(dim=1) for m in members]
        mean = joined.model_on(CPU).eval()(images).softmax(dim=1)
    assert not torch.allclose(*each, atol=1e-4)
    torch.testing.assert_close(mean, torch.stack(each).mean(dim=0))
