"""Recorded learning curves: read from a run or from a table of curves, and written as a table."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from inat_ray.config.distributions import Numeric
from inat_ray.config.epoch import later_metrics
from inat_ray.config.errors import UserError, readable
from inat_ray.config.experiment import PARTS, Experiment
from inat_ray.config.space import search_space
from inat_ray.config.tracking import TrackingConfig
from inat_ray.log.history import History
from inat_ray.log.records import JSON, RunResumed
from inat_ray.log.run_log import EVENTS, read_records
from inat_ray.run.contents import read_whole
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import read_result
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveTable, curves_of
from inat_ray.search.limits import Beyond

SIZE = ("model_parameters", "macs")
"""Columns of a network's size, which tables of earlier versions lack."""

SCHEMA = pa.schema(
    [
        pa.field("parameters", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in ("seconds", *CURVE_METRICS)),
        *(pa.field(name, pa.int64()) for name in SIZE),
    ]
)
"""A table of curves: a row for each epoch of each curve."""

Provenance = dict[str, Any]
"""The origin of recorded curves, as JSON."""

_BEYOND = TypeAdapter(list[Beyond])

_PARAMETERS: TypeAdapter[dict[str, JSON]] = TypeAdapter(dict[str, JSON])


def read_curves(path: Path) -> CurveTable:
    """Reads the curves in a run folder of `sweep`, or in a file that `write_curves` wrote.

    Raises UserError if it is neither.
    """
    if path.is_dir():
        return _curves_of_run(path)
    with readable(path, remedy="a run folder or a table that simulate --save wrote is needed"):
        table = pq.read_table(path, page_checksum_verification=True)
        about = table.schema.metadata or {}
        experiment = Experiment.model_validate_json(about[b"experiment"])
        curves = _curves(_with_later_columns(table).select(SCHEMA.names).cast(SCHEMA))
        beyond = _BEYOND.validate_json(about.get(b"beyond", b"[]"))
    return _table(experiment, curves, beyond, where=str(path))


def _with_later_columns(table: pa.Table) -> pa.Table:
    """Adds what an older table lacks: metrics as NaN, sizes as unknown."""
    later = dict.fromkeys(later_metrics(), math.nan) | dict.fromkeys(SIZE, None)
    for name in later.keys() - set(table.column_names):
        table = table.append_column(name, pa.array([later[name]] * table.num_rows))
    return table


def _table(
    experiment: Experiment, curves: list[Curve], beyond: list[Beyond], *, where: str
) -> CurveTable:
    """Raises UserError if a curve has a value that its parameter cannot have."""
    space = search_space(experiment, where=where)
    for curve in curves:
        for name, value in curve.parameters.items():
            if isinstance(space.parameters.get(name), Numeric) and not _is_number(value):
                raise UserError(
                    f"{where}: {name}: {value!r} is recorded where numbers are searched"
                )
    return CurveTable(experiment, space, curves, beyond)


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def read_all_curves(paths: Sequence[Path]) -> CurveTable:
    """Reads the curves of several runs or tables that have the same search space.

    Raises UserError as `read_curves`, and if a space differs from the first.
    """
    first, *others = [read_curves(path) for path in paths]
    for path, other in zip(paths[1:], others, strict=True):
        if other.experiment.search.parameters != first.experiment.search.parameters:
            raise UserError(f"{path}: has other search.parameters than {paths[0]}")
    curves = [curve for table in (first, *others) for curve in table.curves]
    beyond = [point for table in (first, *others) for point in table.beyond]
    return CurveTable(first.experiment, first.space, curves, beyond)


def write_curves(table: CurveTable, path: Path, *, provenance: Provenance) -> None:
    """Writes a table of curves, with the experiment and `provenance` in the file's metadata.

    The file is made to be given away, so the paths of the images are left out.
    """
    rows = [
        {
            "parameters": json.dumps(dict(curve.parameters)),
            "seed": curve.seed,
            "epoch": epoch + 1,
            "seconds": curve.seconds[epoch],
            **{name: curve.metrics[name][epoch] for name in CURVE_METRICS},
            **dict(zip(SIZE, curve.size or (None, None), strict=True)),
        }
        for curve in table.curves
        for epoch in range(curve.epochs)
    ]
    about = {"experiment": _without_addresses(table.experiment).model_dump_json()}
    about["beyond"] = _BEYOND.dump_json(table.beyond).decode()
    about |= {key: json.dumps(value) for key, value in provenance.items()}
    content = pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(about))
    pq.write_table(content, path, compression="zstd", write_page_checksum=True)


def _without_addresses(experiment: Experiment) -> Experiment:
    """Removes the folders, buckets and trackers of whoever recorded the curves."""
    given = experiment.data
    folders = {key: getattr(given, key) for key in ("source", *PARTS)}
    names = {key: folder and Path(folder).name for key, folder in folders.items()}
    data = given.model_copy(update={**names, "cache": type(given)().cache})
    resources = experiment.resources.model_copy(update={"storage_path": None})
    return experiment.model_copy(
        update={"data": data, "resources": resources, "tracking": TrackingConfig()}
    )


def _curves(table: pa.Table) -> list[Curve]:
    """Reads rows in the order of writing; raises ValueError if they are not."""
    columns = {name: table[name].to_pylist() for name in table.column_names}
    starts = [row for row, epoch in enumerate(columns["epoch"]) if epoch == 1]
    bounds = list(zip(starts, [*starts[1:], table.num_rows], strict=True))
    counted = [epoch for start, end in bounds for epoch in range(1, end - start + 1)]
    if not bounds or columns["epoch"] != counted:
        raise ValueError("a curve's epochs do not ascend from 1")
    if not all(0 <= seconds < math.inf for seconds in columns["seconds"]):
        raise ValueError("an epoch's seconds are no amount of time")
    return [
        Curve(
            parameters=_PARAMETERS.validate_json(columns["parameters"][start]),
            seed=columns["seed"][start],
            metrics={name: columns[name][start:end] for name in CURVE_METRICS},
            seconds=columns["seconds"][start:end],
            size=_size(*(columns[name][start] for name in SIZE)),
        )
        for start, end in bounds
    ]


def _size(parameters: int | None, macs: int | None) -> tuple[int, int] | None:
    return None if parameters is None or macs is None else (parameters, macs)


def _curves_of_run(path: Path) -> CurveTable:
    experiment, history = read_whole(path)
    curves = list(curves_of(history.searched))
    if not curves:
        raise UserError(f"{path}: no trial of this run has an epoch yet")
    beyond = [Beyond(r.parameters, r.model_parameters, r.macs) for _, r in history.beyond]
    return _table(experiment, curves, beyond, where=str(RunFolder(path).experiment))


def provenance_of(path: Path) -> Provenance:
    """Tells when, how long, on which data and with what the run in folder `path` was recorded.

    The folder must hold a run. The answer has no path of the machine.
    """
    run = RunFolder(path)
    history = History()
    records = list(read_records(run.log / EVENTS, history=history))
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
    """Returns the time in UTC, to the second."""
    return datetime.fromtimestamp(time, tz=UTC).isoformat(timespec="seconds")
