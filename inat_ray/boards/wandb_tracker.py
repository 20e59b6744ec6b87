"""Weights & Biases: a sweep is a group, with a run for each trial and one for the sweep itself."""

import os
from collections.abc import Mapping
from pathlib import Path

import wandb

from inat_ray.boards.trackers import TrackedRun
from inat_ray.config.errors import UserError
from inat_ray.config.tracking import WandbConfig
from inat_ray.log.records import TrialState

SUCCESSFUL: tuple[TrialState, ...] = ("finished", "stopped", "stopped_by_hand", "paused")


def check_wandb(config: WandbConfig) -> None:
    """Raises UserError if runs could not be logged to W&B. Never asks for a key."""
    # Its messages would come between the lines of the progress.
    wandb.setup(settings=wandb.Settings(silent=True))
    if _mode(config) != "online":
        return
    try:
        known = wandb.login(prompt=False, verify=True)
    except Exception as error:  # wrong key, no network, wrong address: many unrelated types
        raise UserError(
            f"tracking.to: wandb: the login failed: {error}; tracking.wandb.mode offline keeps the"
            " run for `wandb sync`"
        ) from None
    if not known:
        raise UserError(
            "tracking.to: wandb: there is no key; allowed are WANDB_API_KEY, `wandb login`, or"
            " tracking.wandb.mode offline"
        )


class WandbTracker:
    """Logs runs to W&B, which keeps them in `folder` too: its own way to survive an outage."""

    title = "W&B"

    def __init__(self, config: WandbConfig, *, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._open: dict[str, wandb.Run] = {}
        self._url: str | None = None

    def open(self, run: TrackedRun) -> int:
        opened = wandb.init(
            project=self._config.project,
            entity=self._config.entity,
            mode=self._config.mode,
            dir=self._folder,
            id=run.identity,
            name=run.name,
            group=run.sweep,
            job_type=run.kind,
            config=dict(run.parameters),
            resume="allow",
            reinit="create_new",
            save_code=False,
            # Nothing from the user's repository, and nothing of Ray's output. Nor the load of this
            # machine, which says nothing about the node that a trial runs on.
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                disable_code=True,
                silent=True,
                x_disable_stats=True,
            ),
        )
        self._open[run.key] = opened
        if run.parent is None and not opened.offline:
            self._url = opened.url
        return max(0, opened.starting_step - 1)

    def log(self, key: str, values: Mapping[str, float], *, step: int, time: float) -> None:
        self._open[key].log({**values, "_timestamp": time}, step=step)

    def summarize(self, key: str, values: Mapping[str, float | str]) -> None:
        self._open[key].summary.update(dict(values))

    def close(self, key: str, *, state: TrialState, time: float) -> None:
        self._open[key].summary["state"] = state
        self._open.pop(key).finish(exit_code=0 if state in SUCCESSFUL else 1)

    def address(self) -> str:
        return self._url or f"kept offline; wandb sync {self._folder / 'wandb'}/offline-run-*"


def _mode(config: WandbConfig) -> str:
    return config.mode or os.environ.get("WANDB_MODE", "online")
