"""A run's result.json as other commands read it: whatever they use of it is checked."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, NonNegativeInt
from pydantic_core import from_json

from inat_ray.config.errors import readable
from inat_ray.log.records import Amount, Share

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
    """Of `train`, `sweep`, `evaluate` or `prepare`, so nothing is in all of them."""

    test_accuracy: Share | None = None
    parameters: NonNegativeInt | None = None
    trainable_parameters: NonNegativeInt | None = None
    macs: NonNegativeInt | None = None
    images_per_second: Amount | None = None
    data: _Data | None = None
    pack: str | None = None
    versions: dict[str, str] = {}
    machine: _Machine | None = None


def read_result(path: Path) -> dict[str, Any] | None:
    """A run's result.json; None where there is none. Raises UserError where it is damaged."""
    if not path.exists():
        return None
    with readable(path, remedy=REMEDY):
        content = path.read_bytes()
    return parsed_result(content, source=str(path))


def parsed_result(content: bytes, *, source: str) -> dict[str, Any]:
    """`source`: what an error names. Raises UserError where the content is no result."""
    with readable(source, remedy=REMEDY):
        _Result.model_validate_json(content, strict=True)
        result: dict[str, Any] = from_json(content)
    return result
