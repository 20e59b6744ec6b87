"""The report's frame: one HTML file that needs nothing else, on a screen, a phone or paper."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from inat_ray.page.parts import Section
from inat_ray.storage.disk import replacing

HERE = files("inat_ray.page")


def write_page(path: Path, *, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Writes the page whole or not at all; `lead` is a sentence or two below the title."""
    with replacing(path) as partial:
        partial.write_text(render_page(title=title, lead=lead, sections=sections), encoding="utf-8")


def render_page(*, title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML. Scripts, styles and pictures are in it: it asks no network for anything."""
    anchors = [section.anchor for section in sections]
    assert len(set(anchors)) == len(anchors)
    plots = any('class="plot"' in section.body for section in sections)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html")).render(
        title=title,
        lead=lead,
        sections=sections,
        style=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
        plotly=Markup(_plotly()) if plots else None,
    )


def _asset(name: str) -> str:
    return HERE.joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    script: str = get_plotlyjs()
    return script
