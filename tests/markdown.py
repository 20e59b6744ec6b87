"""Pages of Markdown as data: their code blocks, links and headings."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CLUSTERS = ROOT / "experiments" / "clusters" / "README.md"


class Block(NamedTuple):
    """A fenced block of code."""

    page: str
    line: int
    language: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's fenced blocks in one of the languages."""
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, token.map[0] + 1, token.info, token.content)
        for token in MarkdownIt().parse(page.read_text())
        if token.type == "fence" and token.info in languages and token.map
    ]


def lines(block: str) -> list[str]:
    """A shell block's commands, each whole, also where a backslash or a quote spans lines."""
    whole, begun = [], ""
    for line in block.replace("\\\n", " ").splitlines():
        begun = f"{begun} {line}".strip()
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:
            continue  # a quote is open: the command goes on in the next line
        whole += [begun] if words else []
        begun = ""
    return whole


def commands(line: str) -> Iterator[list[str]]:
    """The calls of inat_ray in a line of shell, also inside quotes, each as NAME ARGS..."""
    words = shlex.split(line, comments=True)
    for place, word in enumerate(words):
        if " " in word and "inat_ray." in word:
            yield from commands(word)
        elif word == "inat-ray":
            yield _until_next(words[place + 1 :])
        elif word == "-m" and words[place + 1].startswith("inat_ray."):
            yield _until_next([words[place + 1].removeprefix("inat_ray."), *words[place + 2 :]])


def _until_next(words: list[str]) -> list[str]:
    """The words up to where the shell begins another command."""
    end = next((i for i, word in enumerate(words) if word in ("&&", "|", ";", ">")), len(words))
    return words[:end]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(path, anchor) of each link or picture that points into this repository."""
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        for part in token.children or ():
            target = str(part.attrGet("href") or part.attrGet("src") or "")
            if target and "://" not in target:
                path, _, anchor = target.partition("#")
                yield path, anchor


def anchors(page: Path) -> set[str]:
    """What links to headings of the page may name, as GitHub and mkdocs derive it."""
    tokens = MarkdownIt().parse(page.read_text())
    titles = [b.content for a, b in pairwise(tokens) if a.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
