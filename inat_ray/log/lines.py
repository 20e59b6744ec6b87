"""Reads the lines of a run log as records, and checks each.

A crash may cut off the last line of a log, and no other. Earlier versions wrote on behind such a
line when the run was resumed or its model looked at the test set, so it may stand before the record
of that, too. Any other line that is not a record is damage and an error: passed over, an epoch
would be trained twice, or the test set be looked at twice.
"""

from collections.abc import Iterable, Iterator

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from inat_ray.config.errors import UserError, finding
from inat_ray.config.faults import printable
from inat_ray.log.history import History
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
    lines: Iterable[bytes], *, source: str, history: History | None = None, may_be_torn: bool = True
) -> Iterator[tuple[bytes, AnyRecord]]:
    """Yields each whole line, with its line end, and its record, which it adds to `history`.

    What a record refers to must be in the history so far; else records before it are missing.
    `source` is what an error names. Raises UserError at the first line that is damaged, and where a
    newer version wrote the log.
    """
    history = History() if history is None else history
    torn = 0
    for number, line in enumerate(lines, start=1):
        where = f"{source}: line {number}"
        record = _record(line, where, may_be_torn=may_be_torn)
        if record is None:
            torn = torn or number
            continue
        if torn and not _may_resume(record, history):
            raise UserError(f"{source}: line {torn}: is cut off; {REMEDY}")
        torn = 0
        if problem := _problem(record, history):
            raise UserError(f"{where}: {problem}; records before it are missing; {REMEDY}")
        history.add(record)
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
            f" {printable(line[:80].decode(errors='replace').rstrip())}; {REMEDY}"
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


def _may_resume(record: AnyRecord, history: History) -> bool:
    """Returns whether it may be the first record of a process that resumes a run.

    A run of `train` has no record of its own for that, and a run that was cut off within its first
    line begins anew.
    """
    kinds = RunResumed | RunStarted | LookAtTest
    return isinstance(record, kinds) or (history.is_training and isinstance(record, TrialResumed))


def _problem(record: AnyRecord, history: History) -> str | None:
    """Returns why this record cannot follow in a log without a gap; None where it can."""
    if isinstance(record, LookAtTest):
        return None
    if isinstance(record, RunStarted):
        return "the run begins a second time" if history.started else None
    if history.started is None:
        return f"the log begins with {record.kind}"
    if isinstance(record, TrialStarted):
        twice = record.trial_id in history.trials
        return f"{record.trial_id} begins a second time" if twice else None
    return _problem_of_trial(record, history) if isinstance(record, TrialRecord) else None


def _problem_of_trial(record: TrialRecord, history: History) -> str | None:
    name, trial = record.trial_id, history.trials.get(record.trial_id)
    if trial is None:
        return f"{record.kind} of {name}, which has not begun"
    done, is_paused, problem = len(trial.epochs), trial.state == "paused", None
    match record:
        case EpochEnded(epoch=epoch) if is_paused:
            problem = f"epoch {epoch} of {name}, which is paused"
        case EpochEnded(epoch=epoch) if epoch > done + 1:
            problem = f"epoch {epoch} of {name} follows epoch {done}"
        case TrialResumed(epochs=epochs) if epochs > done:
            problem = f"{name} goes on after epoch {epochs}, and has had {done}"
        # A score gives it its place among those that are paused there.
        case TrialPaused() if trial.is_over or is_paused or not history.has_score(trial):
            problem = f"{name} pauses without an epoch that has a score"
    return problem
