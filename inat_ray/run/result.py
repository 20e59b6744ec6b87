"""result.json: its writer and its reader, which checks what other commands use of it.

It is the last file that a run writes: a run that trains is finished once it is there.
"""

import json
import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeInt
from pydantic_core import from_json

from inat_ray.config.epoch import Amount
from inat_ray.config.errors import readable
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment
from inat_ray.log.records import Share
from inat_ray.run.folder import RunFolder
from inat_ray.storage.disk import write_text

Result = dict[str, Any]

REMEDY = "the run's log has its numbers too; put back a copy of it, or remove it"


class _Data(BaseModel):
    classes: list[str]
    images: dict[str, NonNegativeInt]
    quarantined: dict[str, str]
    duplicates: list[str]
    pack: str


class _Nodes(BaseModel):
    count: NonNegativeInt
    cpus: Amount
    gpus: Amount
    accelerators: list[str]


class _Machine(BaseModel):
    processor: str
    cores: NonNegativeInt
    system: str
    gpus: list[str] = []
    nodes: list[_Nodes] = []


class _Result(BaseModel):
    """The result of `train`, `sweep`, `evaluate` or `prepare`; no key is in all of them."""

    test_accuracy: Share | None = None
    parameters: NonNegativeInt | None = None
    trainable_parameters: NonNegativeInt | None = None
    macs: NonNegativeInt | None = None
    images_per_second: Amount | None = None
    data: _Data | None = None
    pack: str | None = None
    versions: dict[str, str] = {}
    machine: _Machine | None = None


def write_result(result: Result, path: Path) -> Result:
    """Writes result.json, whole or not at all, and returns what it holds."""
    written: Result = _without_nan(result)
    write_text(path, json.dumps(written, indent=2) + "\n")
    return written


def _without_nan(value: Any) -> Any:
    """Replaces NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def finish_run(run: RunFolder, *, result: Result, model: Experiment) -> None:
    """Writes the kept model's experiment, then the result, and copies all files to the storage."""
    write_text(run.model_experiment, dump_experiment(model))
    write_result(result, run.result)
    run.keep_all()


def read_result(path: Path) -> Result | None:
    """Reads result.json; None if there is none. Raises UserError if it is damaged."""
    if not path.exists():
        return None
    with readable(path, remedy=REMEDY):
        content = path.read_bytes()
    return parsed_result(content, source=str(path))


def parsed_result(content: bytes, *, source: str) -> Result:
    """Reads a result. Raises UserError, which names `source`, if the content is none."""
    with readable(source, remedy=REMEDY):
        _Result.model_validate_json(content, strict=True)
        result: Result = from_json(content)
    return result
