"""How a model fares class by class, as tables for the terminal."""

from rich import box
from rich.markup import escape
from rich.table import Table

from inat_ray.data.names import shown_name
from inat_ray.terminal.leaderboard import percent
from inat_ray.training.assessment import Assessment, confusions, hardest_first
from inat_ray.training.predictions import Predictions

SHOWN_CLASSES, SHOWN_CONFUSIONS = 20, 5


def class_table(assessment: Assessment, *, most: int = SHOWN_CLASSES) -> Table:
    """Precision, recall and F1 of the classes, the lowest F1 first."""
    hardest = hardest_first(assessment.classes)
    table = _table("classes", "class", "images", "precision", "recall", "F1")
    for scores in hardest[:most]:
        shares = (scores.precision, scores.recall, scores.f1)
        table.add_row(escape(shown_name(scores.name)), f"{scores.images:,}", *map(_text, shares))
    if (more := len(hardest) - most) > 0:
        table.caption, table.caption_justify = f"and {more} more in result.json", "left"
    return table


def confusions_table(predictions: Predictions, *, most: int = SHOWN_CONFUSIONS) -> Table:
    """The most frequent pairs of a class and what it is taken for."""
    table = _table("most often confused", "truth", "taken for", "images", "share")
    for pair in confusions(predictions)[:most]:
        names = (shown_name(pair.truth), shown_name(pair.prediction))
        table.add_row(*map(escape, names), f"{pair.images:,}", percent(pair.share))
    return table


def _table(title: str, *columns: str) -> Table:
    """Names to the left, numbers to the right."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    names = ("class", "truth", "taken for")
    for column in columns:
        table.add_column(column, justify="left" if column in names else "right", overflow="fold")
    return table


def _text(share: float | None) -> str:
    return "-" if share is None else percent(share)
