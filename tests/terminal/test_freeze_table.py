from io import StringIO

from rich.console import Console

from inat_ray.config.load import load_experiment
from inat_ray.terminal.freeze_table import freeze_table


def shown(*settings: str) -> str:
    """The table in 80 columns, blanks squeezed."""
    lines = ["model={kind: resnet, backbone: resnet18, weights: none}", *settings]
    console = Console(width=80, file=StringIO())
    console.print(freeze_table(load_experiment(None, settings=lines), classes=10))
    return " ".join(console.file.getvalue().split())


def test_it_tells_what_trains_and_what_does_not():
    text = shown("model.freeze={strategy: first_k, k: 20}")
    assert "resnet18: freeze first_k (k 20)" in text
    assert "layers 1 20 4.8 %" in text
    assert "parameters 5,130 11,176,512 0.0 %" in text
    assert "the frozen part runs once" not in text


def test_it_tells_that_features_are_cached_and_how_many_views():
    head_only = "model.freeze={strategy: head_only}"
    assert "runs once, for 8 views of each training image" in shown(head_only)
    assert "runs once, for 1 view of" in shown(head_only, "recipe.augment=false")
    assert "runs once" not in shown(head_only, "recipe.augmentation.mixup=0.2")
