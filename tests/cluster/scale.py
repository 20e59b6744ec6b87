"""What a trial costs the head: sweeps of more and more short trials over three hosts.

python -m tests.cluster.scale          # root; about 3 minutes; writes runs/cluster/scale.json
"""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.cluster.conftest import make_photographs
from tests.cluster.hosts import CHECKOUT, LOCAL_YAML, Hosts
from tests.cluster.sweeps import Sweep

TRIALS = (50, 100, 200)
SHORT = (
    "recipe.epochs=2",
    "data.image_size=32",
    "data.share=0.3",
    "model.filters=[8, 8, 8, 8, 8]",
)
CONTROL = {"driver": "-m inat_ray.sweep", "gcs": "gcs_server", "raylet": "raylet/raylet"}
"""The head's processes that grow with trials, and how their command lines are known."""

GONE = (0.0, 0.0)

TICKS = 100
"""Of the kernel's clock, a second."""


def main() -> None:
    rows = []
    with Hosts(3) as hosts:
        hosts.make_token()
        make_photographs(hosts.home / "photos")
        file = hosts.cluster_file(LOCAL_YAML, head_cpus=1)
        hosts.up(file)
        hosts.wait_for_nodes(hosts.hosts)
        hosts.send(file, hosts.home / "photos")
        measure(hosts, 3)  # each process has been started once
        for trials in TRIALS:
            rows.append(measure(hosts, trials))
    target = CHECKOUT / "runs" / "cluster" / "scale.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(rows, indent=2) + "\n")
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:,.4g}" for value in row.values()))
    Console().print(table)


def measure(hosts: Hosts, trials: int) -> dict[str, Any]:
    """A sweep, and what the head's processes took for it."""
    before = {name: cost(pid) for name, pid in control(hosts).items()}
    sweep = Sweep.start(hosts, f"scale_{trials}", f"search.trials={trials}", *SHORT)
    newest: dict[str, tuple[float, float]] = {}
    while sweep.exit_code() is None:
        costs = {name: cost(pid) for name, pid in control(hosts).items()}
        newest |= {name: cost for name, cost in costs.items() if cost != GONE}
        time.sleep(0.5)
    sweep.wait_for_end()
    records = sweep.records()
    row: dict[str, Any] = {
        "trials": trials,
        "seconds": records[-1].time - records[0].time,
        "epochs": len(sweep.epochs()),
    }
    for name in CONTROL:
        seconds, megabytes = newest[name]
        row[f"{name} CPU s"] = seconds - before.get(name, GONE)[0]
        row[f"{name} MB"] = megabytes
    return row


def control(hosts: Hosts) -> dict[str, int]:
    """The head's processes by name, as they are now."""
    lines = hosts.processes("h1")
    found = {}
    for name, sign in CONTROL.items():
        pids = [pid for pid, line in lines.items() if sign in line and "bash" not in line]
        if pids:
            found[name] = pids[-1]
    return found


def cost(pid: int) -> tuple[float, float]:
    """(CPU seconds so far, peak resident MB) of a process; zeros once it is gone."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = (folder / "status").read_text()
    except OSError:
        return GONE
    (peak,) = [line for line in status.splitlines() if line.startswith("VmHWM")] or ["VmHWM 0 kB"]
    return (int(fields[11]) + int(fields[12])) / TICKS, int(peak.split()[1]) / 1000


if __name__ == "__main__":
    main()
