"""The README's picture: a search in the terminal, and the top of its report.

    python -m tests.pictures [RUN]

Without RUN, a quickstart is run for it. Needs Debian's chromium.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "quickstart.png"
COLUMNS = 96
COLORS = 128
"""Of the picture's palette: texts and flat areas need no more, and the file is a third as large."""


def main(run: Annotated[Path | None, typer.Argument()] = None) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        where = run.resolve() if run else Path(folder) / "quickstart"
        if run is None:
            command = [sys.executable, "-m", "inat_ray.sweep", "--out", str(where)]
            subprocess.run(command, check=True)
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        report = _shot(browser, (where / "report.html").as_uri(), width=1280, height=760)
        terminal = Path(folder) / "terminal.html"
        terminal.write_text(f"<body style='margin:0;width:900px'>{_terminal(where)}</body>")
        text = _shot(browser, terminal.as_uri(), width=900, height=None)
        _together(report, text).save(PICTURE, optimize=True)


def _terminal(run: Path) -> str:
    """What the terminal shows of a run, as SVG."""
    command = [sys.executable, "-m", "inat_ray.sweep", "--status", run.name]
    look = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    look["PYTHONPATH"] = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, capture_output=True, text=True, env=look, cwd=run.parent, check=True
    )
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("$ inat-ray sweep", style="bold"))
    console.print(Text.from_ansi(done.stderr))
    return console.export_svg(title="inat-ray sweep", font_aspect_ratio=0.6)


def _shot(browser: Browser, address: str, *, width: int, height: int | None) -> Image.Image:
    size = {"width": width, "height": height or 100}
    page = browser.new_page(viewport=size, color_scheme="light")
    # Rich's pictures name a font on the network; the monospace font at hand does.
    page.route("http*://**", lambda route: route.abort())
    page.goto(address)
    if height:
        page.wait_for_selector("html[data-drawn]", state="attached")
    return Image.open(io.BytesIO(page.screenshot(full_page=height is None))).convert("RGB")


def _together(report: Image.Image, terminal: Image.Image) -> Image.Image:
    """The terminal above the report, in few colors."""
    width = max(report.width, terminal.width)
    picture = Image.new("RGB", (width, report.height + terminal.height + 24), "white")
    picture.paste(terminal, ((width - terminal.width) // 2, 0))
    picture.paste(report, ((width - report.width) // 2, terminal.height + 24))
    return picture.quantize(COLORS)


if __name__ == "__main__":
    typer.run(main)
