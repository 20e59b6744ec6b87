"""Reading a section as a reader would: its rows, and the data of its plots."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from inat_ray.inspection.page.parts import Section


@pytest.fixture
def plots_of() -> Callable[[Section], list[dict[str, Any]]]:
    """The Plotly figures of a section."""

    def plots(section: Section) -> list[dict[str, Any]]:
        return [
            json.loads(text) for text in re.findall(r'json">(.*?)</script>', section.body, re.S)
        ]

    return plots


@pytest.fixture
def rows_of() -> Callable[[Section], list[list[str]]]:
    """The text of each cell of a section's tables, row by row."""

    def rows(section: Section) -> list[list[str]]:
        bodies = re.findall(r"<tbody>(.*?)</tbody>", section.body, re.S)
        found = [row for body in bodies for row in re.findall(r"<tr>(.*?)</tr>", body, re.S)]
        return [[re.sub(r"<[^>]*>", "", c) for c in re.findall(r"<td.*?</td>", r)] for r in found]

    return rows
