import subprocess
import sys

import pytest
import torch
from torch import nn

from inat_ray.config.experiment import RecipeConfig
from inat_ray.optimizers.registry import OPTIMIZERS


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_entry_can_be_named_by_a_recipe_and_takes_a_step(name):
    weight = nn.Parameter(torch.ones(2, 3))
    recipe = RecipeConfig(optimizer=name)
    group = {"params": [weight], "weight_decay": 0.0, "orthogonal": True}
    optimizer = OPTIMIZERS[recipe.optimizer].build([group], recipe.lr, recipe.momentum)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert (weight < 1).all()


def test_a_recipe_refuses_an_optimizer_without_an_entry():
    with pytest.raises(ValueError, match="Input should be 'adam', 'adamw'"):
        RecipeConfig(optimizer="lion")


def test_the_names_are_known_without_pytorch():
    program = "import sys, inat_ray.config.experiment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
