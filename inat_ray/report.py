"""python -m inat_ray.report: what a run did and found, on one page that can be mailed."""

from pathlib import Path
from typing import Annotated

import typer

from inat_ray import options
from inat_ray.config.code import check_named, name_code
from inat_ray.data.progress import waiting
from inat_ray.run.folder import RunFolder, existing_run
from inat_ray.terminal.say import note

RUN = "A run folder; several are compared."


def main(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN [RUN...]", help=RUN)],
    data: options.Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The page; RUN/report.html if not given, comparison.html for several runs.",
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Also write each figure for paper: SVG, its data as CSV, and PDF, which needs"
            " pip install 'inat_ray[figures]'.",
        ),
    ] = None,
    code: options.Code = None,
    changed_code: options.ChangedCode = False,
    verbose: options.Verbose = False,
) -> None:
    """Write what a run did and found as one HTML page, which needs no network.

    The test set is not looked at again: its predictions are those that the run has recorded.
    --data names the photographs where they have moved since.

    Example: inat-ray report runs/quickstart --figures figures
    """
    options.set_verbosity(verbose=verbose)
    name_code(code, changed=changed_code)
    options.say_reading("report", ", ".join(map(str, runs)))
    for run in runs:
        existing_run(run)
    # Imported only now: they take seconds, and a mistake above is answered at once.
    with options.loading("torch"):
        from inat_ray.page.figure_files import can_make_pdf, check_folder, write_figures
        from inat_ray.page.report import write_comparison, write_report
        from inat_ray.page.reported_run import open_run
        from inat_ray.terminal.words import counted

    if figures is not None:
        check_folder(figures)
    console = options.console()
    opened = [open_run(run, source=data) for run in runs]
    check_named(*(run.experiment for run in opened))
    path = out or (RunFolder(runs[0]).report if len(runs) == 1 else Path("comparison.html"))
    with waiting("drawing the report", console=console):
        drawn = (
            write_report(opened[0], path) if len(opened) == 1 else write_comparison(opened, path)
        )
    for name, text in ((one.name, text) for one in opened for text in one.missing):
        note(console, f"{name}: {text}")
    options.say("report", path)
    if figures is not None:
        with waiting("writing the figures", console=console):
            count = counted(write_figures(drawn, figures), "figure")
        options.say("figures", f"{count} in {figures}")
        if not can_make_pdf():
            note(console, "no PDF: pip install 'inat_ray[figures]' brings what makes it")


if __name__ == "__main__":
    options.run(main)
