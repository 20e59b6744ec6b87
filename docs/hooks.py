"""What MkDocs does besides: the README is the home page, and links out of docs/ become text.

The pages are written for a forge, where a link may lead to any file of the repository. The site
holds docs/ and the README alone. A link that leads nowhere is a warning, which `--strict` refuses.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parent.resolve()
README = DOCS.parent / "README.md"

log = logging.getLogger("mkdocs.hooks")

FENCED = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
SOURCE = re.compile(r'(src|href)="([^"]+)"')


def on_files(files: Files, config: Any) -> Files:
    home = README.read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=home))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    source = README if page.file.src_uri == "index.md" else DOCS / page.file.src_uri
    parts = FENCED.split(markdown)
    parts[::2] = [_mended(text, source) for text in parts[::2]]  # code in between stays as it is
    return "".join(parts)


def _mended(text: str, source: Path) -> str:
    def link(found: re.Match[str]) -> str:
        mark, label, target = found.groups()
        place = _in_site(target, source)
        return label if place is None else f"{mark}[{label}]({place})"

    def attribute(found: re.Match[str]) -> str:
        name, target = found.groups()
        return f'{name}="{_in_site(target, source) or "#"}"'

    return SOURCE.sub(attribute, LINK.sub(link, text))


def _in_site(target: str, source: Path) -> str | None:
    """The target as the site has it; None if it is a file of the repository outside the site."""
    path, mark, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return target
    file = (source.parent / path).resolve()
    if file == README:
        return f"index.md{mark}{anchor}"
    if not file.exists():
        log.warning("%s: there is no %s", source.name, target)
    if not file.is_file() or not file.is_relative_to(DOCS) or file.suffix == ".py":
        return None
    base = DOCS if source == README else source.parent
    return f"{Path(os.path.relpath(file, base)).as_posix()}{mark}{anchor}"
