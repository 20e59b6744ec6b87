"""When a search is over: its budgets, as a pure function of (settings, history)."""

from inat_ray.config.metrics import METRICS
from inat_ray.config.search import SearchConfig
from inat_ray.log.history import History
from inat_ray.log.records import Reason


def spent_budget(search: SearchConfig, history: History) -> Reason | None:
    """The budget that leaves nothing more to train, not even the next epoch of a trial.

    An extension is counted in trials, so it lifts the other budgets. `trials` itself ends no trial.
    """
    if history.extended:
        return None
    metric = METRICS[search.metric.name]
    if search.target is not None and history.best_score >= metric.score(search.target):
        return "target"
    if search.epochs is not None and history.epochs_spent >= search.epochs:
        return "epochs"
    if search.time is not None and history.seconds >= search.time:
        return "time"
    return None


def has_open_budget(search: SearchConfig, history: History) -> bool:
    """Whether a budget other than `trials` says when the search ends, and it has not come yet."""
    given = (search.epochs, search.time, search.target)
    return not history.extended and given != (None, None, None)
