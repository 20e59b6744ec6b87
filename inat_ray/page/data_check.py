"""The sections about the data: labels that may be wrong, near-duplicates, and rare classes."""

from collections.abc import Iterator

from markupsafe import Markup

from inat_ray.data.near_duplicates import Pair
from inat_ray.data.split import SubsetName
from inat_ray.page.html import Cell, Section, paragraph, picture, table
from inat_ray.page.pictures import jpeg
from inat_ray.page.predicted import PICTURE_SIDE, Pictures
from inat_ray.run.data_check import FEWEST, PAIRS, DataCheck
from inat_ray.terminal.words import counted

SHOWN_LABELS, SHOWN_PAIRS = 30, 20

RULE = (
    "A model that was not trained on them predicts another class for these images, and finds it"
    " at least as probable as it does on the average of the images with that label (confident"
    " learning, Northcutt et al. 2021). It may be the model that errs, and a weak one mostly does:"
    " look at them."
)


def check_sections(check: DataCheck) -> list[Section]:
    """Returns what may be wrong, with pictures; a section says so where nothing was found."""
    return [
        *(_labels(check, part) for part in check.judged),
        Section("Near-duplicates", "near-duplicates", *_duplicates(check)),
        Section("Classes with few images", "few", *_few(check)),
    ]


def _labels(check: DataCheck, part: SubsetName) -> Section:
    rows, said = check.wrong[part], check.judged[part]
    title, anchor = f"Labels to check: {part}", f"labels-{part}"
    if not rows:
        text = f"None of the {len(said):,} {part} images contradicts its label clearly."
        return Section(title, anchor, paragraph(text))
    text = f"{len(rows):,} of {len(said):,} {part} images, the likeliest first. {RULE}"
    pictures = Pictures(said, check.data).with_files(rows, most=SHOWN_LABELS)
    return Section(title, anchor, paragraph(text), *pictures)


def _duplicates(check: DataCheck) -> Iterator[Markup]:
    if not check.pairs:
        yield paragraph("No two images of different parts or classes are nearly the same.")
        return
    yield paragraph(
        f"{counted(len(check.pairs), 'pair')} of images in different parts of the split or in"
        " different classes. A test image that was trained on flatters the accuracy; of two"
        " classes for one photograph, one is wrong. The most alike first."
    )
    shown = (_pair(check, pair) for pair in check.pairs[:SHOWN_PAIRS])
    yield Markup('<ul class="pictures">{}</ul>').format(Markup("").join(shown))
    yield table(PAIRS, list(check.duplicates()), caption="All pairs.")


def _pair(check: DataCheck, pair: Pair) -> Markup:
    """Shows two images, one below the other."""
    pictures = (
        picture(
            jpeg(check.data.pack.images[index], most=PICTURE_SIDE),
            alt=name,
            caption=f"{part}, {label}",
            kind="jpeg",
        )
        for index in (pair.first, pair.second)
        for name, part, label in [check.place(index)]
    )
    return Markup("<li>{}</li>").format(Markup("").join(pictures))


def _few(check: DataCheck) -> Iterator[Markup]:
    least = ", ".join(f"{count} for {part}" for part, count in FEWEST.items())
    if not check.few:
        yield paragraph(f"Every class has at least {least}.")
        return
    rows: list[list[Cell]] = [[name, *counts.values()] for name, counts in check.few]
    yield table(("class", *FEWEST), rows, caption=f"Classes with fewer images than {least}.")
