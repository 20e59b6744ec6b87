"""What may be wrong with the photographs of a run, as the terminal shows it."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from inat_ray.data.names import listed, shown_name
from inat_ray.run.data_check import LABELS_FILE, PAIRS_FILE, DataCheck
from inat_ray.terminal.say import say
from inat_ray.terminal.tables import folded, numbers, plain_table
from inat_ray.terminal.words import counted, percent

SHOWN = 10


def show_check(console: Console, check: DataCheck, folder: Path) -> None:
    """Prints the likeliest wrong labels, how much of everything was found, and where it lies."""
    columns = (folded("image"), folded("label"), folded("prediction"))
    title = "labels to check"
    table = plain_table(*columns, numbers("sure"), numbers("of the label"), title=title, gap=2)
    for name, _, label, prediction, sure, of_label in check.labels()[:SHOWN]:
        names = (escape(shown_name(text)) for text in (name, label, prediction))
        table.add_row(*names, percent(sure), percent(of_label))
    if any(check.wrong.values()):
        console.print(table)
    for topic, text in _summary(check, folder):
        say(console, topic, text)


def _summary(check: DataCheck, folder: Path) -> Iterator[tuple[str, str]]:
    parts = [f"{len(rows)} of {len(check.judged[p]):,} {p}" for p, rows in check.wrong.items()]
    yield "labels", f"{', '.join(parts)} images may have a wrong one: {folder / LABELS_FILE}"
    if "train" not in check.judged:
        yield (
            "      ",
            "training images are not judged: the model may know them by heart; --folds 5",
        )
    pairs = counted(len(check.pairs), "pair")
    yield "near-duplicates", f"{pairs} in two parts or two classes: {folder / PAIRS_FILE}"
    if check.few:
        yield "few images", listed([name for name, _ in check.few])
