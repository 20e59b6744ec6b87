"""A page's figures as files of their own, in one style: SVG, PDF where it can be made, and CSV."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.page.figure import Figure
from inat_ray.storage.disk import write_bytes, write_text

PDF_MAKER = "vl_convert"
"""Makes a PDF of an SVG with its fonts in it; it needs neither a browser nor a network."""


def can_make_pdf() -> bool:
    return find_spec(PDF_MAKER) is not None


def check_folder(folder: Path) -> None:
    """Raises UserError if figures cannot be written there."""
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"--figures {folder}: is a file; a folder is allowed, or a name that is free"
        )


def write_figures(figures: Iterable[Figure], folder: Path) -> int:
    """Writes each view of the figures for white paper; returns how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for figure in figures:
        for place, view in enumerate(figure.views):
            name = re.sub(r"\W+", "-", f"{figure.name}-{view}" if place else figure.name)
            svg = figure.printed(view)
            write_text(folder / f"{name}.svg", svg)
            write_text(folder / f"{name}.csv", figure.data(view))
            if can_make_pdf():
                write_bytes(folder / f"{name}.pdf", _pdf(svg))
            written += 1
    return written


def _pdf(svg: str) -> bytes:
    import vl_convert

    # A pixel is 0.75 points, and is taken for one.
    size = re.compile(r'(width|height)="(\d+)"')
    svg = size.sub(lambda found: f'{found[1]}="{0.75 * int(found[2])}"', svg, count=2)
    content: bytes = vl_convert.svg_to_pdf(svg)
    return content
