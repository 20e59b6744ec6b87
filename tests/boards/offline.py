"""What W&B has kept of a run that it could not send: read from its own files."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import wandb
from wandb.proto.wandb_internal_pb2 import Record

MAGIC, BLOCK, HEADER = 7, 32_768, 7
"""Bytes: of the file's beginning, of a block, of the header of a piece of a record in a block."""

WHOLE, LAST = 1, 4
"""Kinds of pieces that end a record."""


@dataclass
class OfflineRun:
    """Of one process: a run that went on in another one has a file of its own there."""

    run_id: str = ""
    group: str = ""
    job_type: str = ""
    config: dict = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    exit_code: int | None = None


def offline_runs(folder: Path) -> dict[str, OfflineRun]:
    """By their names, in order of their beginnings; the latest of a name.

    W&B's own process writes the files and is behind when a run has ended: as at the end of a
    command, it is waited for, or a file could be cut short.
    """
    wandb.teardown()
    runs = {}
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        run, name = OfflineRun(), ""
        for record in _records(file.read_bytes()):
            match record.WhichOneof("record_type"):
                case "run":
                    name, run.run_id = record.run.display_name, record.run.run_id
                    run.group, run.job_type = record.run.run_group, record.run.job_type
                    run.config = _values(record.run.config.update)
                case "history":
                    run.history.append(_values(record.history.item))
                case "summary":
                    run.summary |= _values(record.summary.update)
                case "exit":
                    run.exit_code = record.exit.exit_code
        runs[name] = run
    return runs


def _records(data: bytes) -> Iterator[Record]:
    """A record may lie in several pieces, in blocks that follow each other."""
    position, collected = MAGIC, b""
    while position + HEADER <= len(data):
        if (left := BLOCK - position % BLOCK) < HEADER:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += HEADER + length
        collected += data[position - length : position]
        if kind in (WHOLE, LAST):
            yield Record.FromString(collected)
            collected = b""


def _values(items) -> dict:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
