"""The status of a run that another process or machine may be working on. Nothing is written."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
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
from inat_ray.terminal.estimate import (
    Phase,
    epochs_planned,
    phase_of,
    running_trials,
    seconds_left,
)
from inat_ray.terminal.live import live_view
from inat_ray.terminal.run_texts import (
    kept_model_text,
    resume_command,
    steering_texts,
)
from inat_ray.terminal.say import say
from inat_ray.terminal.words import duration, percent

SECONDS_BETWEEN_READINGS = 2.0


@dataclass(frozen=True)
class Status:
    """A run at `now` (seconds since 1970), from its log and its result."""

    run: str
    """As the user named it."""
    state: State
    history: History
    test_accuracy: float | None
    report: Path | None
    changed: float | None
    """When the last record was written; None without a record."""
    now: float

    @property
    def may_go_on(self) -> bool:
        return self.state in ("running", "running or cut off")

    @property
    def phase(self) -> Phase | None:
        """What the run is doing; its log does not say whether a confirmation has another round."""
        phase = phase_of(self.history) if self.history.started else None
        is_between = phase == "finished" != self.state and self.history.confirming
        return "confirmation" if is_between else phase

    @property
    def resume_command(self) -> str | None:
        """None if there is nothing to resume."""
        is_cut_off = self.state in ("cut off", "running or cut off")
        return resume_command(self.history, self.run) if is_cut_off else None


def read_status(run: str) -> Status:
    """Reads the status of a run folder, or of a run's place in a storage.

    Raises UserError if there is no run of sweep or train, or its log or result is damaged.
    """
    found = read_contents(run)
    found.check("log", "result")
    history, state = found.history, found.state
    if history.started is None and found.result:
        raise UserError(f"--status {run}: is no run of sweep or train")
    may_continue = state in ("running", "running or cut off")
    now = time.time() if may_continue or found.changed is None else found.changed
    if not may_continue:
        _interrupt(history, now=now)
    report = RunFolder(Path(run)).report
    return Status(
        run=run,
        state=state,
        history=history,
        test_accuracy=history.looks[-1].accuracy
        if history.looks
        else found.result.get("test_accuracy"),
        report=report if report.exists() and not found.is_storage else None,
        changed=found.changed,
        now=now,
    )


def _interrupt(history: History, *, now: float) -> None:
    """Marks trials as interrupted that the log of a dead process calls running."""
    for trial in list(history.trials.values()):
        if trial.state == "running":
            history.add(TrialEnded(time=now, trial_id=trial.trial_id, state="interrupted"))


def print_status(console: Console, status: Status, *, with_view: bool = True) -> None:
    """Prints the live view, the state, and the command that resumes the run."""
    if with_view:
        console.print(_view(console, status))
    for text in steering_texts(status.history.steering):
        say(console, "changed", text)
    details = ", ".join(_details(status))
    line = f"[bold]{status.state}[/]" + (f": {escape(details)}" if details else "")
    console.print(line, soft_wrap=True)
    if status.resume_command is not None:
        condition = " (if no process is working on it)" if status.may_go_on else ""
        command = escape(status.resume_command)
        console.print(f"resume with{condition}: [bold]{command}[/]", soft_wrap=True)


def watch_status(console: Console, run: str) -> Status:
    """Redraws the view until the run ends, or Ctrl-C; returns the last status.

    Raises UserError if the console cannot redraw.
    """
    if not can_redraw(console):
        raise UserError("--watch: needs a terminal; --status alone shows the run once")
    status = read_status(run)
    with Live(console=console, auto_refresh=False) as live:
        try:
            live.update(_view(console, status), refresh=True)
            while status.may_go_on:
                time.sleep(SECONDS_BETWEEN_READINGS)
                status = read_status(run)
                live.update(_view(console, status), refresh=True)
        except KeyboardInterrupt:
            pass
    return status


def _view(console: Console, status: Status) -> Group:
    return live_view(
        status.history,
        now=status.now,
        options=console.options,
        phase=status.phase,
        goes_on=status.may_go_on,
    )


def _details(status: Status) -> Iterator[str]:
    """'kept model val acc 90.7 % (winner)', 'test accuracy 60.0 %', 'report runs/a/report.html'."""
    history, is_finished = status.history, status.state == "finished"
    if status.may_go_on and status.changed is not None:
        yield f"last record {duration(status.now - status.changed)} ago"
    if is_finished:
        yield from filter(None, [kept_model_text(history)])  # the view has the best trial
    if status.test_accuracy is not None:
        yield f"test accuracy {percent(status.test_accuracy)}"
    if is_finished and status.report is not None:
        yield f"report {status.report}"
    if status.state == "failed":
        errors = [trial.error for trial in history.searched if trial.error]
        yield f"last error: {errors[-1]}" if errors else "no trial has a result"


def status_json(status: Status) -> dict[str, Any]:
    """Returns the status as JSON. Times are in seconds, `changed` and `ends` since 1970."""
    history = status.history
    left = seconds_left(history, now=status.now) if status.may_go_on and history.started else None
    return {
        "run": status.run,
        "state": status.state,
        **_history_json(status),
        "seconds_left": left,
        "ends": None if left is None else status.now + left,
        "changed": status.changed,
        "test_accuracy": status.test_accuracy,
        "report": None if status.report is None else str(status.report),
        "resume": status.resume_command,
    }


def _history_json(status: Status) -> dict[str, Any]:
    """Returns the trials, epochs, and results so far; nothing for a run that has not begun."""
    history = status.history
    if history.started is None:
        return {}
    best, kept = winning_trial(history), final_training(history)
    return {
        "name": history.run.name,
        "method": history.run.method,
        "metric": history.run.metric,
        "phase": status.phase,
        "trials": dict(+history.states),
        "planned_trials": history.planned_trials,
        "beyond_limits": len(history.beyond),
        "epochs": history.epochs_spent,
        "planned_epochs": epochs_planned(history),
        "saved_epochs": history.epochs_saved,
        "seconds": history.seconds_at(status.now),
        "best": None if best is None else _trial_json(history, best),
        "kept_model": None if kept is None else _trial_json(history, kept),
        "running": [_trial_json(history, trial) for trial in running_trials(history)],
        "changes": steering_texts(history.steering),
    }


def _trial_json(history: History, trial: TrialHistory) -> dict[str, Any]:
    return {
        "trial": trial.trial_id,
        "rank": history.ranking.rank(trial.number),
        "score": history.score_value(trial),
        "best": history.best_value(trial),
        "epochs": len(trial.epochs),
        "planned_epochs": trial.planned_epochs,
        "val_accuracy": trial.values("val_accuracy"),
        "images_per_second": trial.epochs[-1].images_per_second if trial.epochs else None,
        "parameters": trial.parameters,
    }
