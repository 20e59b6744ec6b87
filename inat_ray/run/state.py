"""The state of a run, from its log and its result."""

from typing import Any, Literal

from inat_ray.log.history import History
from inat_ray.search.winner import winning_trial

State = Literal["running", "cut off", "running or cut off", "finished", "failed", "damaged"]
"""`cut off`: it can be resumed; `failed`: it came to its end without a result. A storage does not
tell whether a process is still at work on the run: `running or cut off`."""


def state_of(history: History, result: dict[str, Any], *, running: bool) -> State:
    """Returns `finished` only for a run with a result.json, the last file that a run writes."""
    if running:
        return "running"
    if history.started is None:
        return "finished" if result else "cut off"
    if _goes_on(history, result) or not history.searched:
        return "cut off"
    if winning_trial(history) is None:
        return "failed"
    return "finished" if result and _is_newest(result, history) else "cut off"


def _goes_on(history: History, result: dict[str, Any]) -> bool:
    if history.is_training:
        return any(t.state in ("running", "interrupted") for t in history.searched)
    if history.run.version == 1 and result:  # those logs did not say that a search had ended
        return bool(history.active or history.interrupted)
    return history.unfinished


def _is_newest(result: dict[str, Any], history: History) -> bool:
    """Whether the result includes the trials that extended the search, if any did."""
    search = result.get("search")
    told = search.get("trials") if isinstance(search, dict) else None
    return not history.extended or told == dict(+history.states)
