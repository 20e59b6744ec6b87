"""What of a model trains, as a table: layers, parameters, and the work of the backward pass."""

from rich import box
from rich.table import Table

from inat_ray.config.experiment import Experiment, ResnetConfig
from inat_ray.models.complexity import complexity
from inat_ray.terminal.leaderboard import percent
from inat_ray.training.features import caches_features


def freeze_table(experiment: Experiment, *, classes: int) -> Table:
    """Layers, parameters and multiply-accumulates, trained and frozen."""
    model = experiment.model
    assert isinstance(model, ResnetConfig)
    size = complexity(experiment, classes=classes)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0))
    table.title, table.title_justify = f"{model.backbone}: {_freeze_text(model)}", "left"
    for title in ("", "trained", "frozen", "share trained"):
        table.add_column(title, justify="right" if title else "left")
    _add(table, "layers", size.trained_layers, size.layers)
    _add(table, "parameters", size.trainable_parameters, size.parameters)
    _add(table, "MACs with a backward pass", size.backward_macs, size.macs)
    if caches_features(experiment):
        views = model.feature_views if experiment.recipe.augment else 1
        shown = f"{views} view{'s' if views > 1 else ''}"
        table.caption = f"the frozen part runs once, for {shown} of each training image"
        table.caption_justify = "left"
    return table


def _add(table: Table, name: str, trained: int, total: int) -> None:
    table.add_row(name, f"{trained:,}", f"{total - trained:,}", percent(trained / total))


def _freeze_text(model: ResnetConfig) -> str:
    settings = model.freeze.model_dump(exclude_none=True)
    strategy = settings.pop("strategy")
    details = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"freeze {strategy}" + (f" ({details})" if details else "")
