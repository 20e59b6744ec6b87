"""The report that a run writes when it ends."""

from rich.console import Console
from rich.markup import escape

from inat_ray.run.folder import RunFolder
from inat_ray.terminal.announcements import note
from inat_ray.terminal.words import command_text


def report(console: Console, *, run: RunFolder) -> None:
    """Writes the run's report. A page that fails is a note: the run itself is safe by now."""
    # Imported only now: plots and forests take seconds to load, which no search should wait for.
    from inat_ray.page.report import write_report
    from inat_ray.page.reported_run import open_run

    try:
        write_report(open_run(run.path), run.report)
        run.keep(run.report)
    except Exception as error:  # of whatever kind: it must not look as if the search had failed
        note(console, f"there is no report ({error!r}); {command_text('report')} shows why")
        return
    console.print(f"Report:      [bold]{escape(str(run.report))}[/]", soft_wrap=True)
