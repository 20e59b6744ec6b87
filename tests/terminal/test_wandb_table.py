from rich.console import Console

from inat_ray.config.load import load_experiment
from inat_ray.config.wandb.translation import Translation
from inat_ray.terminal.wandb_table import sweep_table


def test_each_part_stands_beside_its_setting_and_what_is_not_said_below():
    found = Translation()
    found.say("parameters.lr", "search.parameters.recipe.lr", {"values": [0.1, 0.2]}, "a [note]")
    found.say("parameters.a and parameters.b", "recipe.epochs", 3)
    found.drop("program", "not run")
    console = Console(width=120, record=True)
    console.print(sweep_table(found, load_experiment(None, settings=["recipe.batch_size=8"])))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "parameters.lr recipe.lr {values: [0.1, 0.2]}" in lines
    assert "a [note]" in lines
    assert "parameters.a recipe.epochs 3" in lines
    assert "program - not run" in lines
    caption = " ".join(lines[lines.index("program - not run") + 1 :])
    assert "recipe.batch_size 8" in caption
    assert "recipe.epochs" not in caption
    assert "recipe.lr" not in caption
