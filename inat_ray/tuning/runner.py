"""A search on Ray Tune: our pure decisions, plugged into Tune's interfaces.

Tune starts processes, places them and carries results; what it is told comes from the run
log, and what it tells goes there first. A trial of Tune's is one piece of work: a trial of ours
up to its next stop, so a promoted or resumed trial is a new one to Tune.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ray import tune
from ray._common.constants import HEAD_NODE_RESOURCE_NAME
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet
from inat_ray.log.records import (
    EpochEnded,
    Reason,
    TrialEnded,
    TrialPaused,
    TrialState,
)
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import drop_checkpoints, record_epoch
from inat_ray.run.folder import RunFolder
from inat_ray.search.agenda import WAIT, Agenda, Work, verdict
from inat_ray.tuning.cluster import UNBOUNDED, Slots, TrialResources, trial_resources
from inat_ray.tuning.failures import DISK_FULL, is_disk_full, state_after_error
from inat_ray.tuning.provision import with_reachable_weights
from inat_ray.tuning.trial import Trial, TrialContext

WITHOUT_SECRETS = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if "AWS" not in name}
"""What Tune sends to trials by a path that ends in logs which anybody may read. Credentials are in
the environment that processes inherit on this machine, and a cluster's nodes have their own."""


def run_agenda(
    experiment: Experiment, agenda: Agenda, *, data: DataSet, run: RunFolder, log: RunLog
) -> Reason:
    """Runs all work that the agenda has, and returns why it has no more; needs Ray to be up.

    Everything that happens is in `log`. Raises UserError where no trial fits on the cluster,
    RunFailedError where a disk is full, KeyboardInterrupt after the trials that were running are
    marked as interrupted.
    """
    resources = trial_resources(experiment)
    context = TrialContext(
        experiment=with_reachable_weights(experiment, run=run),
        data=data,
        shared=run.shared,
        resources=resources,
    )
    trainable = tune.with_resources(
        tune.with_parameters(Trial, context=context),
        _resources_of_trial_process(resources),
    )
    desk = Desk(experiment, agenda, run=run, log=log, slots=Slots(resources))
    # Tune insists on a folder of its own for state that nothing here reads.
    with tempfile.TemporaryDirectory(prefix="inat_ray-tune-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=DeskSearcher(desk),
                scheduler=DeskScheduler(desk),
                num_samples=-1,  # until the agenda is empty
                # The desk says how many run at once, for nodes come and go.
                max_concurrent_trials=UNBOUNDED,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=scratch,
                callbacks=[DeskCallback(desk)],
                # `Trial.step` has written the state already; Tune's copy would be a second.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        try:
            with patch.object(class_cache, "ENV_VARS_TO_PROPAGATE", WITHOUT_SECRETS):
                tuner.fit()
        except KeyboardInterrupt:
            desk.interrupt()
            raise
    return desk.outcome()


def _resources_of_trial_process(resources: TrialResources) -> dict[str, float]:
    """A trial of several workers takes nothing itself: they reserve what they need.

    It stays on the head node, so that it does not go with a node that is taken away.
    """
    if resources.workers == 1:
        return {"CPU": resources.cpus, "GPU": resources.gpus, **resources.of_the_kind}
    return {"CPU": 0, HEAD_NODE_RESOURCE_NAME: 0.001}


class Desk:
    """Where Tune's events meet the log: hands out work, takes in epochs, notes how trials end.

    State: the log; `reason`, once the agenda is empty; `broken`, once the run cannot go on. An
    error in a callback would only fail Tune's trial, so it is kept here until all have stopped.
    """

    def __init__(
        self,
        experiment: Experiment,
        agenda: Agenda,
        *,
        run: RunFolder,
        log: RunLog,
        slots: Callable[[], int],
    ) -> None:
        self.experiment, self.agenda = experiment, agenda
        self.run, self.log, self.slots = run, log, slots
        self.reason: Reason | None = None
        self.broken: RunFailedError | None = None

    def next_work(self) -> dict[str, Any] | str | None:
        """A trial for Tune, or what Tune's searchers say for 'not now' and 'no more'."""
        if self.broken or self.reason:
            return str(Searcher.FINISHED)
        if 0 < len(self.log.history.active) >= self.slots():
            return None
        work = self.agenda(self.log.history)
        if work == WAIT:
            return None
        if not isinstance(work, Work):
            self.reason = work
            return str(Searcher.FINISHED)
        try:
            work = self._from_what_is_there(work)
            self.log.append(work.record())
        except RunFailedError as error:
            self.broken = error
            return str(Searcher.FINISHED)
        return self._config(work)

    def take_in(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Records an epoch and what becomes of its trial; whether that goes on."""
        if self.broken:
            return False
        epoch = EpochEnded(trial_id=trial_id, checkpoint=result["checkpoint"], **result["metrics"])
        if not self._record(lambda: record_epoch(epoch, run=self.run, log=self.log)):
            return False
        state = verdict(self.experiment.search, self.log.history, trial_id)
        if state == "paused":
            self._append(TrialPaused(trial_id=trial_id))
        elif state != "running":
            self.end(trial_id, state=state)
        return state == "running"

    def fail(self, trial_id: str, text: str) -> None:
        """Records what a trial's error, with its traceback `text`, means for it and for the run."""
        if is_disk_full(text):
            self.broken = self.broken or RunFailedError(f"{trial_id}: {DISK_FULL}")
        trial = self.log.history.trials[trial_id]
        again = self.broken is not None or trial.losses < self.experiment.resources.max_failures
        state, reason = state_after_error(text, may_go_on=again)
        self.end(trial_id, state=state, error=reason)

    def end(self, trial_id: str, *, state: TrialState, error: str | None = None) -> None:
        recorded = self._append(TrialEnded(trial_id=trial_id, state=state, error=error))
        if recorded and state != "interrupted":
            drop_checkpoints(trial_id, run=self.run, log=self.log)

    def interrupt(self) -> None:
        """Of Ctrl-C: what was running is to go on when the run is resumed."""
        for trial_id in list(self.log.history.active):
            self.end(trial_id, state="interrupted")

    def outcome(self) -> Reason:
        """Why there is no more work. Raises RunFailedError where the run could not go on."""
        if self.broken:
            raise self.broken
        assert self.reason is not None
        return self.reason

    def _append(self, record: Any) -> bool:
        if self.broken and not isinstance(record, TrialEnded):
            return False
        return self._record(lambda: self.log.append(record))

    def _record(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except RunFailedError as error:
            self.broken = self.broken or error
            return False
        return True

    def _from_what_is_there(self, work: Work) -> Work:
        """A trial whose checkpoint is gone or was cut off by a power failure starts anew."""
        if work.checkpoint is None or (self.run.shared / work.checkpoint).is_whole_zip():
            return work
        return work.from_the_start()

    def _config(self, work: Work) -> dict[str, Any]:
        return {
            "trial_id": work.trial_id,
            "seed": work.seed,
            # One string: Tune would take dotted names and lists apart.
            "parameters": json.dumps(work.parameters),
            "epochs_done": work.epochs_done,
            "checkpoint": work.checkpoint,
        }


class _StateIsInTheLog:
    """Tune snapshots its parts by pickling them; these have nothing that the log has not."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DeskCallback(_StateIsInTheLog, tune.Callback):
    """Tells the desk of trials that failed."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        file = trial.error_file
        text = Path(file).read_text(encoding="utf-8") if file else ""
        self.desk.fail(trial.config["trial_id"], text)


class DeskSearcher(_StateIsInTheLog, Searcher):
    """Tune asks for a configuration, and gets the next piece of work."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def suggest(self, trial_id: str) -> Any:
        return self.desk.next_work()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The log knows already."""

    def save(self, checkpoint_path: str) -> None:
        """The log is the state."""


class DeskScheduler(_StateIsInTheLog, FIFOScheduler):
    """Tune asks what becomes of a trial after an epoch; a pause too is an end to Tune."""

    def __init__(self, desk: Desk) -> None:
        FIFOScheduler.__init__(self)
        self.desk = desk

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        goes_on = self.desk.take_in(trial.config["trial_id"], trial_result(result))
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


def trial_result(flat: Mapping[str, Any]) -> dict[str, Any]:
    """What `Trial.step` returned, from the flat form in which Tune hands it on."""
    metrics = {
        key.removeprefix("metrics/"): value
        for key, value in flat.items()
        if key.startswith("metrics/")
    }
    return {"metrics": metrics, "checkpoint": flat["checkpoint"]}
