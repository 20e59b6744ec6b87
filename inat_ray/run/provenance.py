"""Where recorded curves come from."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inat_ray.log.history import History
from inat_ray.log.records import RunResumed
from inat_ray.log.run_log import EVENTS, read_records
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import read_result

Provenance = dict[str, Any]


def provenance_of(path: Path) -> Provenance:
    """Of the run in folder `path`: when, how long, on which data and with what it was recorded.

    The folder must hold a run. No path of the machine is in it.
    """
    run = RunFolder(path)
    records = list(read_records(run.log / EVENTS))
    history = History.of(records)
    found: Provenance = {
        "name": history.run.name,
        "begun": _date(records[0].time),
        "ended": _date(records[-1].time),
        "seconds": round(history.seconds),
        "resumed": sum(isinstance(record, RunResumed) for record in records),
        "trials": len(history.searched),
        "epochs": history.epochs_spent,
    }
    result = read_result(run.result) or {}
    if data := result.get("data"):
        found |= {
            "versions": result.get("versions"),
            "classes": data["classes"],
            "images": data["images"],
        }
    return found


def _date(time: float) -> str:
    """In UTC, to the second."""
    return datetime.fromtimestamp(time, tz=UTC).isoformat(timespec="seconds")
