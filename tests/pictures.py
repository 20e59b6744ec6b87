"""The README's picture: a search in the terminal, and the top of its report.

    python -m tests.pictures

Runs a quickstart for it. Needs Debian's chromium.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import typer
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "quickstart.png"
COLUMNS = 96
COLORS = 128
"""Of the picture's palette: texts and flat areas need no more, and the file is a third as large."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "runs" / "quickstart"
        command = [sys.executable, "-m", "inat_ray.sweep", "--out", str(where)]
        with subprocess.Popen(command) as sweep:
            shown = [text for text in _while_it_runs(sweep, where) if "finished" in text]
        draw(where, shown[len(shown) // 2], PICTURE)


def draw(run: Path, shown: str, path: Path) -> None:
    """Writes the picture of a finished run, with what a terminal showed of it."""
    address = (run / "report.html").resolve().as_uri()
    page = f"<body style='margin:0;width:900px'>{_terminal(shown)}</body>"
    with sync_playwright() as playwright, tempfile.NamedTemporaryFile("w", suffix=".html") as file:
        file.write(page)
        file.flush()
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        parts = [
            _shot(browser, Path(file.name).as_uri(), width=900, height=None),
            _shot(browser, address, width=1280, height=620),
        ]
        browser.close()
    _stacked(parts).save(path, optimize=True)


def _while_it_runs(sweep: "subprocess.Popen[bytes]", run: Path) -> Iterator[str]:
    """What `--status` shows of the run, again and again until it has ended."""
    place = run.relative_to(run.parents[1])
    command = [sys.executable, "-m", "inat_ray.sweep", "--status", str(place)]
    look = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    look["PYTHONPATH"] = str(Path(__file__).parents[1])
    while sweep.poll() is None:
        time.sleep(5)  # more often, it would slow down what it shows
        if run.exists():
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=os.environ | look,
                cwd=run.parents[1],
                check=False,
            )
            yield done.stderr


def _terminal(text: str) -> str:
    """A terminal with this text, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("$ inat-ray sweep", style="bold"))
    console.print(Text.from_ansi(text.rstrip()))
    return console.export_svg(title="inat-ray sweep", font_aspect_ratio=0.6)


def _shot(browser: Browser, address: str, *, width: int, height: int | None) -> Image.Image:
    size = {"width": width, "height": height or 100}
    page = browser.new_page(viewport=size, color_scheme="light")
    # Rich's pictures name a font on the network; the monospace font at hand does.
    page.route("http*://**", lambda route: route.abort())
    page.goto(address)
    return Image.open(io.BytesIO(page.screenshot(full_page=height is None))).convert("RGB")


def _stacked(parts: list[Image.Image]) -> Image.Image:
    """The pictures below each other, in few colors."""
    picture = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), "white")
    top = 0
    for part in parts:
        picture.paste(part, ((picture.width - part.width) // 2, top))
        top += part.height
    return picture.quantize(COLORS)


if __name__ == "__main__":
    typer.run(main)
