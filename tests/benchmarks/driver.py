"""What a trial costs the process that runs a search: its memory, file descriptors and time.

    python -m tests.benchmarks.driver --out runs/driver.json

A sweep of 300 one-epoch trials of a tiny CNN on 60 pictures of noise, looked at after 50, 150 and
300 of them: what grows from look to look would end a search of thousands.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

EXPERIMENT = """
name: driver
device: cpu
data: {image_size: 32}
model: {filters: [8, 8, 8, 8, 8], dense: 16}
recipe: {epochs: 1, batch_size: 16}
search:
  method: random
  parameters:
    recipe.lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  early_stopping: {kind: none}
"""

SECONDS_BETWEEN_LOOKS = 0.05


def main(
    out: Annotated[Path, typer.Option(help="Where the figures go, as JSON.")],
    trials: Annotated[int, typer.Option(help="How many; looks at a sixth, a half and all.")] = 300,
) -> None:
    with tempfile.TemporaryDirectory(prefix="driver-") as folder:
        rows = measure(Path(folder), looks=(trials // 6, trials // 2, trials))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:,.4g}" for value in row.values()))
    Console().print(table)


def measure(folder: Path, *, looks: tuple[int, ...]) -> list[dict[str, Any]]:
    """A row a look; seconds a trial are those since the look before, the first from the first."""
    draw_pictures(folder / "photos")
    (folder / "driver.yaml").write_text(EXPERIMENT, encoding="utf-8")
    line = [sys.executable, "-m", "inat_ray.sweep", "driver.yaml", "--data", str(folder / "photos")]
    line += ["--trials", str(looks[-1]), "--out", "run", "--set", f"data.cache={folder / 'cache'}"]
    with (folder / "told").open("wb") as told:
        driver = subprocess.Popen(line, cwd=folder, stdout=told, stderr=told)
    log = Log(folder / "run" / "log" / "events.jsonl")
    rows, before, begun = [], 1, wait_for(log, 1, driver)
    for count in looks:
        at = wait_for(log, count, driver)
        cost = {"trials": count} | cost_of(driver.pid)
        rows.append(cost | {"s a trial": (at - begun) / max(1, count - before)})
        before, begun = count, at
    if driver.wait() != 0:
        raise RuntimeError((folder / "told").read_text(encoding="utf-8")[-2000:])
    return rows


class Log:
    """A log that grows, and how many of its trials have ended so far."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self.ended = path, 0, 0

    def look(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self.ended += new.count(b'"kind":"trial_ended"')
        return self.ended


def wait_for(log: Log, count: int, driver: "subprocess.Popen[bytes]") -> float:
    """When so many trials had ended. Raises RuntimeError where the driver ended before."""
    while log.look() < count:
        if driver.poll() is not None and log.look() < count:
            raise RuntimeError(f"the sweep ended with {driver.returncode} after {log.ended} trials")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return time.monotonic()


def cost_of(pid: int) -> dict[str, float]:
    """What a process takes now, by Linux's /proc."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        "MB": int(status["VmRSS"].split()[0]) / 1000,
        "threads": int(status["Threads"]),
        "file descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def draw_pictures(folder: Path, *, seed: int = 0) -> None:
    """60 x 50 pixels of noise, 20 of each of 3 classes."""
    rng = np.random.default_rng(seed)
    for name in ("ash", "beech", "cedar"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.jpg")


if __name__ == "__main__":
    typer.run(main)
