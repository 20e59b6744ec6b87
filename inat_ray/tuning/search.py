"""Runs a search and its confirmation to their end, as far as the log does not have them yet."""

import time
from collections.abc import Sequence

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import SearchSpace
from inat_ray.data.dataset import DataSet
from inat_ray.log.history import History
from inat_ray.log.records import (
    EpochEnded,
    RunResumed,
    SearchChanged,
    SearchEnded,
    Steering,
    TrialKnown,
)
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import end_trial, settle_trial
from inat_ray.run.folder import RunFolder
from inat_ray.run.requests import Requests
from inat_ray.search.agenda import (
    Work,
    confirm_agenda,
    cut_short,
    next_work,
    run_started,
    search_agenda,
    to_confirm,
)
from inat_ray.search.limits import limit_of
from inat_ray.search.stopping import state_if_over
from inat_ray.tuning.ray_tune import run_agenda


def check_limits(experiment: Experiment, space: SearchSpace, *, classes: int) -> None:
    """Raises UserError if the search's limits leave it nothing to begin with."""
    agenda = search_agenda(experiment, space, limit_of(experiment, classes=classes))
    history = History.of([run_started(experiment, space)])
    work = next_work(agenda, history, history.add)
    beyond = [record for _, record in history.beyond]
    if not isinstance(work, Work):
        least = min(beyond, key=lambda record: (record.macs, record.model_parameters))
        raise UserError(
            f"search.limits: all {len(beyond)} points that were tried are beyond them; the least"
            f" of these networks has {least.model_parameters:,} parameters and {least.macs:,} MACs"
        )
    if beyond and experiment.search.method == "ablation":
        raise UserError(
            "search.limits: the experiment as it is has"
            f" {beyond[0].model_parameters:,} parameters and {beyond[0].macs:,} MACs, which is"
            " beyond them, and an ablation compares every change with it"
        )


def begin(
    experiment: Experiment, *, space: SearchSpace, log: RunLog, known: Sequence[TrialKnown] = ()
) -> None:
    """Writes a run's first records; `known` are trials of other runs, for the searcher."""
    log.append(run_started(experiment, space))
    for record in known:
        log.append(record)


def carry_on(
    experiment: Experiment, *, run: RunFolder, log: RunLog, steering: Sequence[Steering] = ()
) -> None:
    """Records that a run continues, and what a person asks of it: more trials after its end, say.

    A process that died between an epoch and what becomes of its trial is made up for.
    """
    history = log.history
    if isinstance(history.newest, EpochEnded) and history.newest.trial_id in history.active:
        settle_trial(experiment.search, history.newest.trial_id, run=run, log=log)
    changes = (record for record in steering if isinstance(record, SearchChanged))
    has_more = any(change.trials > len(history.searched) for change in changes)
    extended = history.ended is not None and has_more
    log.append(RunResumed(trials=history.most_trials, extended=extended))
    for record in steering:
        log.append(record.model_copy(update={"time": time.time()}))


def run_search(
    experiment: Experiment,
    *,
    space: SearchSpace,
    data: DataSet,
    run: RunFolder,
    log: RunLog,
    requests: Requests | None = None,
) -> None:
    """Trains what is left of the search, then of its confirmation; needs Ray to be up.

    `space` is the one that the search began with. What `requests` bring is taken in meanwhile.
    Raises what `run_agenda` raises.
    """

    def take_in() -> None:
        if requests is not None:
            requests.take_in(log)

    take_in()  # what was left while no process was at work on the run
    _end_what_is_over(run=run, log=log)
    while log.history.ended is None:
        limit = limit_of(experiment, classes=len(data.classes))
        agenda = search_agenda(experiment, space, limit)
        reason = run_agenda(experiment, agenda, data=data, run=run, log=log, requests=requests)
        take_in()  # meanwhile a person may have given it more to do
        if not isinstance(next_work(agenda, log.history, log.append), Work):
            _end_what_waits(run=run, log=log)
            log.append(SearchEnded(reason=reason))
    if chosen := to_confirm(experiment, log.history):
        agenda = cut_short(confirm_agenda(experiment, chosen), experiment.search)
        run_agenda(experiment, agenda, data=data, run=run, log=log, requests=requests)
    take_in()  # so that nobody waits for an answer until the winner is trained


def _end_what_is_over(*, run: RunFolder, log: RunLog) -> None:
    """Records the end of trials whose last epoch is in the log: the driver died in between."""
    for trial in [*log.history.waiting, *log.history.interrupted.values()]:
        if not trial.is_over and (state := state_if_over(trial)) is not None:
            end_trial(trial.trial_id, state, run=run, log=log)
    if log.history.ended is not None:  # earlier versions left some paused or cut off for ever
        _end_what_waits(run=run, log=log)


def _end_what_waits(*, run: RunFolder, log: RunLog) -> None:
    """Stops what a finished search leaves: paused trials, and those cut off at its budget."""
    for trial in log.history.waiting:
        end_trial(trial.trial_id, "stopped", run=run, log=log)
