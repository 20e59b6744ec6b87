"""Reads the lines of a run log as records, and checks each.

A crash may cut off the last line of a log, and no other. Earlier versions wrote on behind such a
line when the run was resumed or its model looked at the test set, so it may stand before the record
of that, too. Any other line that is not a record is damage and an error: passed over, an epoch
would be trained twice, or the test set be looked at twice.
"""

import math
from collections.abc import Iterable, Iterator

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from inat_ray.config.errors import UserError, finding
from inat_ray.config.metrics import MetricName
from inat_ray.log.records import (
    LOG_VERSION,
    AnyRecord,
    EpochEnded,
    LookAtTest,
    RunResumed,
    RunStarted,
    TrialPaused,
    TrialRecord,
    TrialResumed,
    TrialStarted,
)

REMEDY = "put back a whole copy of it, or remove the line to go on without what it said"

_RECORDS: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)


def parsed(
    lines: Iterable[bytes], *, source: str, may_be_torn: bool = True
) -> Iterator[tuple[bytes, AnyRecord]]:
    """Yields each whole line, with its line end, and its record.

    `source` is what an error names. Raises UserError at the first line that is damaged, and where a
    newer version wrote the log.
    """
    order, torn = _Order(), 0
    for number, line in enumerate(lines, start=1):
        where = f"{source}: line {number}"
        record = _record(line, where, may_be_torn=may_be_torn)
        if record is None:
            torn = torn or number
            continue
        if torn and not order.is_resumption(record):
            raise UserError(f"{source}: line {torn}: is cut off; {REMEDY}")
        torn = 0
        if problem := order.problem(record):
            raise UserError(f"{where}: {problem}; records before it are missing; {REMEDY}")
        order.add(record)
        yield line.rstrip(b"\n") + b"\n", record


def is_cut_off(line: bytes) -> bool:
    """Returns whether a line is only the beginning of one: JSON that does not end.

    It may be cut within a character, and a disk that lost power may have zeros for the rest.
    """
    try:
        from_json(line.rstrip(b"\0\n").decode(errors="ignore"))
    except ValueError as error:
        return str(error).startswith("EOF while parsing")
    return False


def _record(line: bytes, where: str, *, may_be_torn: bool) -> AnyRecord | None:
    """Returns None if the line is cut off, and may be."""
    try:
        record = _RECORDS.validate_json(line, strict=True)
    except ValidationError as error:
        if may_be_torn and is_cut_off(line):
            return None
        raise UserError(
            f"{where}: is not a record that this version can read ({finding(error)}):"
            f" {line[:80].decode(errors='replace').rstrip()}; {REMEDY}"
        ) from None
    if isinstance(record, RunStarted) and record.version > LOG_VERSION:
        raise UserError(
            f"{where}: was written by a newer inat_ray (log version {record.version}; this one"
            f" reads up to {LOG_VERSION}); update inat_ray to go on with it"
        )
    if "time" not in record.model_fields_set:
        raise UserError(
            f"{where}: is not a record that this version can read (it has no time); {REMEDY}"
        )
    return record


class _Order:
    """Finds gaps: records that refer to something which the log so far does not have.

    State: the log's first record, and for each trial its epochs and its last record.
    """

    def __init__(self) -> None:
        self._run: RunStarted | None = None
        self._epochs: dict[str, int] = {}
        self._last: dict[str, TrialRecord] = {}

    def is_resumption(self, record: AnyRecord) -> bool:
        """Returns whether it may be the first record of a process that resumes a run.

        A run of `train` has no record of its own for that, and a run that was cut off within its
        first line begins anew.
        """
        of_training = self._run is not None and self._run.method == "train"
        kinds = RunResumed | RunStarted | LookAtTest
        return isinstance(record, kinds) or (of_training and isinstance(record, TrialResumed))

    def problem(self, record: AnyRecord) -> str | None:
        """Returns why this record cannot follow in a log without a gap; None where it can."""
        if isinstance(record, LookAtTest):
            return None
        if isinstance(record, RunStarted):
            return "the run begins a second time" if self._run else None
        if self._run is None:
            return f"the log begins with {record.kind}"
        if isinstance(record, TrialStarted):
            twice = record.trial_id in self._epochs
            return f"{record.trial_id} begins a second time" if twice else None
        if not isinstance(record, TrialRecord):
            return None
        return self._problem_of_trial(record, metric=self._run.metric)

    def _problem_of_trial(self, record: TrialRecord, *, metric: MetricName) -> str | None:
        done, last = self._epochs.get(record.trial_id), self._last.get(record.trial_id)
        if done is None:
            return f"{record.kind} of {record.trial_id}, which has not begun"
        problem = None
        match record:
            case EpochEnded(epoch=epoch) if isinstance(last, TrialPaused):
                problem = f"epoch {epoch} of {record.trial_id}, which is paused"
            case EpochEnded(epoch=epoch) if epoch > done + 1:
                problem = f"epoch {epoch} of {record.trial_id} follows epoch {done}"
            case TrialResumed(epochs=epochs) if epochs > done:
                problem = f"{record.trial_id} goes on after epoch {epochs}, and has had {done}"
            case TrialPaused() if done == 0:
                problem = f"{record.trial_id} pauses before its first epoch"
            case TrialPaused() if not _has_score(last, metric):
                problem = f"{record.trial_id} pauses without an epoch that has a score"
        return problem

    def add(self, record: AnyRecord) -> None:
        if isinstance(record, TrialRecord):
            self._last[record.trial_id] = record
        match record:
            case RunStarted():
                self._run = record
            case TrialStarted():
                self._epochs[record.trial_id] = 0
            case EpochEnded(epoch=epochs) | TrialResumed(epochs=epochs):
                self._epochs[record.trial_id] = epochs


def _has_score(last: TrialRecord | None, metric: MetricName) -> bool:
    """Returns whether a trial's last record gives it a rank among others, which pausing needs."""
    return isinstance(last, EpochEnded) and math.isfinite(last.score(metric))
