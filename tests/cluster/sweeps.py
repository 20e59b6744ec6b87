"""A sweep on hosts, watched from outside: what its log says, and when."""

import json
import os
import re
import shlex
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inat_ray.log.history import History
from inat_ray.log.records import AnyRecord, EpochEnded, TrialEnded, TrialResumed
from inat_ray.log.run_log import read_records
from tests.cluster.hosts import Hosts

TRIALS, EPOCHS = 12, 5

SETTINGS = (
    "data.image_size=64",
    "model.filters=[24, 24, 48, 48, 48]",
    "model.dense=64",
    f"recipe.epochs={EPOCHS}",
    "recipe.batch_size=32",
    "search.method=random",
    f"search.trials={TRIALS}",
    "search.parameters.recipe.lr={distribution: log_uniform_values, min: 0.0003, max: 0.01}",
    "search.early_stopping={kind: none}",
    "device=cpu",
)
"""Nothing of it depends on when a trial ran, or where: every sweep ends with the same numbers."""


@dataclass
class Sweep:
    """A sweep that runs on the head, with its folder on the head's disk."""

    hosts: Hosts
    name: str
    head: str = "h1"

    @classmethod
    def start(cls, hosts: Hosts, name: str, *more: str) -> "Sweep":
        sweep = cls(hosts, name)
        settings = " ".join(f"--set {shlex.quote(line)}" for line in (*SETTINGS, *more))
        sweep.command(f"--data ~/photos --out runs/{name} {settings}")
        return sweep

    def submit(self, file: Path) -> None:
        """As one of Ray's jobs, from the laptop, which is gone when this returns."""
        settings = " ".join(f"--set {shlex.quote(line)}" for line in SETTINGS)
        sweep = f"python -m inat_ray.sweep --data ~/photos --out runs/{self.name} {settings}"
        line = f"cd ~/inat_ray && {sweep} > ~/{self.name}.log 2>&1; echo $? > ~/{self.name}.code"
        self.hosts.submit(file, line)

    def resume(self, run: str | None = None) -> None:
        self.command(f"--resume {shlex.quote(run or f'runs/{self.name}')}")

    def command(self, arguments: str) -> None:
        """In the background: ssh may go away. Its exit code is left beside its output."""
        code, said = f"~/{self.name}.code", f"~/{self.name}.log"
        line = f"python -m inat_ray.sweep {arguments} < /dev/null >> {said} 2>&1; echo $? > {code}"
        self.hosts.run(
            self.head,
            f"rm -f {code}; cd ~/inat_ray; nohup bash -c {shlex.quote(line)} > /dev/null 2>&1 & "
            "disown",
        )

    @property
    def home(self) -> Path:
        return self.hosts.hosts[self.head].disk / "home"

    @property
    def folder(self) -> Path:
        return self.home / "inat_ray" / "runs" / self.name

    def records(self) -> list[AnyRecord]:
        path = self.folder / "log" / "events.jsonl"
        return list(read_records(path)) if path.exists() else []

    def epochs(self) -> list[EpochEnded]:
        return [record for record in self.records() if isinstance(record, EpochEnded)]

    def said(self) -> str:
        path = self.home / f"{self.name}.log"
        return path.read_text() if path.exists() else ""

    def exit_code(self) -> int | None:
        path = self.home / f"{self.name}.code"
        text = path.read_text() if path.exists() else ""
        return int(text) if text.strip() else None

    def wait(self, until: Callable[[], Any], *, seconds: float = 240, what: str = "") -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"{what or until}: not in {seconds} s\n{self.said()}"
            assert self.exit_code() in (None, 0), self.said()
            time.sleep(0.2)

    def wait_for_epochs(self, number: int) -> None:
        self.wait(lambda: len(self.epochs()) >= number, what=f"{number} epochs")

    def wait_for_end(self, seconds: float = 400) -> dict[str, Any]:
        """The result; an end that is no success fails the test."""
        self.wait(lambda: self.exit_code() is not None, seconds=seconds, what="the end")
        assert self.exit_code() == 0, self.said()
        result: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return result

    def running(self, at: float | None = None) -> set[str]:
        """The trials that had epochs to go at this time; now, where none is given.

        By the log's own clock: one whose last epoch stood there already does not train again.
        """
        moment = time.time() if at is None else at
        history = History.of([record for record in self.records() if record.time <= moment])
        trials = history.active.values()
        return {t.trial_id for t in trials if len(t.epochs) < t.planned_epochs}

    def curves(self) -> dict[str, list[tuple[float, float]]]:
        """Of every trial: (training loss, validation accuracy) after each epoch."""
        history = History.of(self.records())
        return {
            trial.trial_id: [(e.train_loss, e.val_accuracy) for e in trial.epochs]
            for trial in history.trials.values()
        }

    def doubled(self) -> list[tuple[str, int]]:
        """(trial, epoch) that stand in the log more than once."""
        counts = Counter((epoch.trial_id, epoch.epoch) for epoch in self.epochs())
        return [key for key, count in counts.items() if count > 1]

    def repeated(self) -> Counter[str]:
        """How often each trial had to repeat an epoch that it was in the middle of."""
        return Counter(r.trial_id for r in self.records() if isinstance(r, TrialResumed))

    def lost(self) -> Iterator[TrialEnded]:
        """The endings of trials that went on later."""
        return (r for r in self.records() if isinstance(r, TrialEnded) and r.state == "interrupted")

    def nodes_with_the_pack(self) -> set[str]:
        """Addresses of those that were sent it."""
        return set(re.findall(r"node ([\d.]+) has the pack", self.said()))

    def kill_driver(self) -> None:
        for pid, line in self.hosts.processes(self.head).items():
            if "-m inat_ray.sweep" in line:
                os.kill(pid, signal.SIGKILL)

    def free_again(self) -> bool:
        """Whether the cluster has all that it has free."""
        code = (
            "import ray; ray.init(address='auto', log_to_driver=False); "
            "print('FREE', ray.available_resources().get('CPU', 0), "
            "ray.cluster_resources().get('CPU', 0))"
        )
        said = self.hosts.python(self.head, code).stdout
        (line,) = [line for line in said.splitlines() if line.startswith("FREE")]
        _, free, whole = line.split()
        return free == whole
