"""The status of a run, which another process or machine may be at work on. Writes nothing."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape

from inat_ray.config.errors import UserError
from inat_ray.data.progress import can_redraw
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import TrialEnded
from inat_ray.run.contents import read_contents
from inat_ray.run.folder import RunFolder
from inat_ray.run.state import State
from inat_ray.search.winner import final_training, winning_trial
from inat_ray.terminal.estimate import epochs_planned, phase_of, seconds_left
from inat_ray.terminal.live import live_view
from inat_ray.terminal.standing import best_text, kept_model_text, running_trials
from inat_ray.terminal.words import command_text, duration, percent

SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True)
class Status:
    """A run at `now` (seconds since 1970), from its log and its result."""

    run: str
    """As the user named it."""
    state: State
    history: History
    result: dict[str, Any]
    report: Path | None
    changed: float | None
    """When the last record was written; None where there is none."""
    now: float

    @property
    def goes_on(self) -> bool:
        return self.state in ("running", "running or cut off")

    @property
    def resume_command(self) -> str | None:
        """None where there is nothing to resume."""
        if self.state not in ("cut off", "running or cut off"):
            return None
        method = self.history.run.method if self.history.started else None
        return f"{command_text('train' if method == 'train' else 'sweep')} --resume {self.run}"

    @property
    def test_accuracy(self) -> float | None:
        if self.history.looks:
            return self.history.looks[-1].accuracy
        return self.result.get("test_accuracy")


def read_status(run: str) -> Status:
    """Reads the status of a run folder, or of a run's place in a storage.

    Raises UserError if there is no run of sweep or train, or its log or result is damaged.
    """
    found = read_contents(run)
    found.check("log", "result")
    if found.history.started is None and found.result:
        raise UserError(f"--status {run}: is no run of sweep or train")
    report = RunFolder(Path(run)).report
    status = Status(
        run=run,
        state=found.state,
        history=found.history,
        result=found.result,
        report=report if report.exists() and not found.is_storage else None,
        changed=found.changed,
        now=time.time(),
    )
    if status.goes_on or found.changed is None:
        return status
    _interrupt(status.history, now=found.changed)
    return replace(status, now=found.changed)


def print_status(console: Console, status: Status, *, with_view: bool = True) -> None:
    """Prints the live view, the state, and the command that resumes the run."""
    if with_view:
        console.print(_view(console, status))
    console.print(f"[bold]{status.state}[/]{escape(_details(status))}", soft_wrap=True)
    if status.resume_command is not None:
        condition = " if nobody is at work on it" if status.goes_on else ""
        command = escape(status.resume_command)
        console.print(f"go on with{condition}: [bold]{command}[/]", soft_wrap=True)


def watch_status(console: Console, run: str) -> Status:
    """Redraws the view until the run ends, or Ctrl-C; returns the last status.

    Raises UserError if the console cannot redraw.
    """
    if not can_redraw(console):
        raise UserError("--watch: needs a terminal; --status alone shows the run once")
    status = read_status(run)
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(_view(console, status), refresh=True)
                if not status.goes_on:
                    return status
                time.sleep(SECONDS_BETWEEN_LOOKS)
                status = read_status(run)
        except KeyboardInterrupt:
            return status


def _view(console: Console, status: Status) -> Group:
    return live_view(
        status.history, now=status.now, options=console.options, goes_on=status.goes_on
    )


def status_json(status: Status) -> dict[str, Any]:
    """The status as JSON. Times are in seconds, `changed` and `ends` since 1970."""
    history, told = status.history, history_json(status.history, now=status.now)
    left = seconds_left(history, now=status.now) if status.goes_on and history.started else None
    return {
        "run": status.run,
        "state": status.state,
        **told,
        "seconds_left": left,
        "ends": None if left is None else status.now + left,
        "changed": status.changed,
        "test_accuracy": status.test_accuracy,
        "report": None if status.report is None else str(status.report),
        "resume": status.resume_command,
    }


def history_json(history: History, *, now: float) -> dict[str, Any]:
    """The run's trials, epochs, and results so far; empty for a run that has not begun."""
    if history.started is None:
        return {}
    best, kept = winning_trial(history), final_training(history)
    return {
        "name": history.run.name,
        "method": history.run.method,
        "metric": history.run.metric,
        "phase": phase_of(history),
        "trials": dict(+history.states),
        "planned_trials": history.planned_trials,
        "epochs": history.epochs_spent,
        "planned_epochs": epochs_planned(history),
        "saved_epochs": history.epochs_saved,
        "seconds": history.seconds_at(now),
        "best": None if best is None else _trial_json(history, best),
        "kept_model": None if kept is None else _trial_json(history, kept),
        "running": [_trial_json(history, trial) for trial in running_trials(history)],
    }


def _trial_json(history: History, trial: TrialHistory) -> dict[str, Any]:
    return {
        "trial": trial.trial_id,
        "rank": history.ranking.rank(trial.number),
        "best": history.best_value(trial),
        "epochs": len(trial.epochs),
        "planned_epochs": trial.planned_epochs,
        "val_accuracy": trial.values("val_accuracy"),
        "images_per_second": trial.epochs[-1].images_per_second if trial.epochs else None,
        "parameters": trial.parameters,
    }


def _interrupt(history: History, *, now: float) -> None:
    """Marks trials as interrupted that the log of a dead process calls running."""
    for trial in list(history.trials.values()):
        if trial.state == "running":
            history.add(TrialEnded(time=now, trial_id=trial.trial_id, state="interrupted"))


def _details(status: Status) -> str:
    """': best val acc 91.2 % (trial_0004), test accuracy 60.0 %, report runs/a/report.html'."""
    parts: list[str] = []
    if status.goes_on and status.changed is not None:
        parts.append(f"last record {duration(time.time() - status.changed)} ago")
    if status.state == "finished":
        parts += filter(None, [best_text(status.history), kept_model_text(status.history)])
    if status.test_accuracy is not None:
        parts.append(f"test accuracy {percent(status.test_accuracy)}")
    if status.state == "finished" and status.report is not None:
        parts.append(f"report {status.report}")
    if status.state == "failed":
        errors = [trial.error for trial in status.history.searched if trial.error]
        parts.append(f"last error: {errors[-1]}" if errors else "no trial has a result")
    return ": " + ", ".join(parts) if parts else ""
