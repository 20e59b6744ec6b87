"""The adaptor to Ray Tune: Tune runs the processes, our own pure functions decide.

Tune starts processes, places them on nodes and carries results. What it is told is decided from the
run log, and what it reports goes into the log first. To Tune, every piece of work is a new trial: a
trial of ours up to its next stop, so one that is promoted or resumed is several trials of Tune's.

From top to bottom: the search as Tune gets it; the process that trains; the three interfaces
through which Tune asks and tells; the `Desk`, which answers all of them from the log.
"""

import gc
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ray import cloudpickle, tune
from ray._common.constants import HEAD_NODE_RESOURCE_NAME
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from inat_ray.config.code import Code, allow, allowed
from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.config.trial import trial_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.log.records import Reason
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import StartingPoint, end_trial, record_epoch, settle_trial
from inat_ray.run.folder import CHECKPOINTS, RunFolder, snapshot_in
from inat_ray.run.requests import Requests
from inat_ray.run.weights import stored_weights, with_weights_at
from inat_ray.search.agenda import WAIT, Agenda, Work, next_work
from inat_ray.storage.place import Place
from inat_ray.training.loop import Job, TrainedEpoch
from inat_ray.tuning.cluster import UNBOUNDED, Slots, gpu_type_to_ask_for, trial_resources
from inat_ray.tuning.engine import engine
from inat_ray.tuning.own_ray import is_own
from inat_ray.tuning.single_training import epoch_record
from inat_ray.tuning.trial_errors import DISK_FULL, is_disk_full, state_after_error

WITHOUT_SECRETS = {name for name in class_cache.ENV_VARS_TO_PROPAGATE if "AWS" not in name}
"""The variables that Tune may send to trials. It writes them into logs that anybody may read, and
has no setting for it. Processes on this machine inherit all; a cluster's nodes have credentials of
their own."""


def run_agenda(
    experiment: Experiment,
    agenda: Agenda,
    *,
    data: DataSet,
    run: RunFolder,
    log: RunLog,
    requests: Requests | None = None,
) -> Reason:
    """Runs all work that the agenda has, and returns why it has no more; needs Ray to be up.

    Everything that happens is in `log`. Raises UserError if no trial fits on the cluster,
    RunFailedError if a disk is full, KeyboardInterrupt after the trials that were running are
    marked as interrupted.
    """
    resources = trial_resources(experiment)
    slots = Slots(resources)
    desk = Desk(experiment, agenda, run=run, log=log, slots=slots, requests=requests)
    trainable = tune.with_parameters(
        Trial,
        experiment=experiment,
        weights=stored_weights(experiment, run=run),
        data=data,
        shared=run.shared,
        resources=resources,
        code=allowed(),
    )
    trainable = tune.with_resources(trainable, _resources_of_trial_process(resources))
    # An interrupted search of this process leaves trials' processes, which hold CPUs until the
    # cycles that Tune keeps them in are collected: waiting for those would never end.
    gc.collect()
    with (
        # Tune insists on a folder of its own for state that nothing here reads.
        tempfile.TemporaryDirectory(prefix="inat_ray-tune-") as scratch,
        _sent_to_trials(),
    ):
        try:
            _tuner(trainable, desk, folder=scratch).fit()
        except KeyboardInterrupt:
            desk.interrupt()
            raise
    if desk.broken:
        raise desk.broken
    assert desk.reason is not None
    return desk.reason


def _sent_to_trials() -> AbstractContextManager[Any]:
    """Keeps Tune from giving trials an environment of their own, where they need none.

    A process that runs already, and has loaded what a trial needs, could not become a trial's.
    """
    if is_own():
        return patch.multiple(class_cache, DEFAULT_ENV_VARS={}, ENV_VARS_TO_PROPAGATE=())
    return patch.object(class_cache, "ENV_VARS_TO_PROPAGATE", WITHOUT_SECRETS)


def _tuner(trainable: Any, desk: "Desk", *, folder: str) -> tune.Tuner:
    return tune.Tuner(
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
            storage_path=folder,
            callbacks=[DeskCallback(desk)],
            # `Trial.step` has written the state already; Tune's copy would be a second.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )


def _resources_of_trial_process(resources: Resources) -> dict[str, float]:
    """Returns what Tune reserves for a trial's process.

    A trial of several workers takes nothing itself: they reserve what they need. It stays on the
    head node, so that it does not go with a node that is taken away.
    """
    if resources.workers_per_trial > 1:
        return {"CPU": 0, HEAD_NODE_RESOURCE_NAME: 0.001}
    cpus, gpus = resources.cpus_per_worker, resources.gpus_per_worker or 0
    return {"CPU": cpus, "GPU": gpus, **gpu_type_to_ask_for(resources)}


class Trial(tune.Trainable):
    """A process that trains one piece of work after another: to Tune, a step is an epoch.

    It never ends a trial itself: the desk, which has the log, decides after every epoch. The
    engine, this process or a group of workers, outlives the trial and takes the next one.

    State: the engine; `newest`, the last epoch that it trained of its present work.
    """

    def setup(  # type: ignore[override]
        self,
        config: dict[str, Any],
        *,
        experiment: Experiment,
        weights: Mapping[str, str],
        data: DataSet,
        shared: Place,
        resources: Resources,
        code: tuple[Code, ...],
    ) -> None:
        """Takes what all trials of a search share; `code` is what they may run.

        `weights` is what `stored_weights` returned.
        `data` pickles as the pack's path and the split; the pixels are mapped from the node's disk.
        `shared` is `RunFolder.shared`.
        """
        self.experiment, self.data, self.shared = experiment, data, shared
        self.weights = weights
        allow(*code)
        self.until_cleanup = ExitStack()
        self.engine = self.until_cleanup.enter_context(
            engine(resources, experiment, storage=shared, threads=resources.cpus_per_worker)
        )
        self.newest: TrainedEpoch | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        # The next trial is built in its first step: an error there fails that trial alone,
        # while an error here would end the search.
        self.newest = None
        return True

    def step(self) -> dict[str, Any]:
        work: Work = self.config["work"]
        start = self._start_of_epoch(work)
        # The checkpoint is on disk before this returns: Tune saves one only after the result was
        # recorded, and a process that dies between the two would leave a record without it.
        self.newest = self.engine.epoch(
            self._job(work), epochs_done=start.epochs_done, resume_from=start.checkpoint
        )
        # As one object: Tune would take a mapping apart.
        return {"epoch": self.newest}

    def cleanup(self) -> None:
        self.until_cleanup.close()

    def _start_of_epoch(self, work: Work) -> StartingPoint:
        if self.newest is not None:
            return StartingPoint(self.newest.metrics.epoch, self.newest.checkpoint)
        checkpoint = self.shared / work.checkpoint if work.checkpoint else None
        return StartingPoint(work.epochs_done, checkpoint)

    def _job(self, work: Work) -> Job:
        experiment = trial_experiment(self.experiment, parameters=work.parameters, seed=work.seed)
        return Job(
            with_weights_at(experiment, self.weights),
            self.data,
            checkpoints=self.shared / CHECKPOINTS / work.trial_id,
            snapshot=snapshot_in(self.shared, work.trial_id),
        )


class _AtTheDesk:
    """An interface of Tune that asks the desk.

    Tune pickles its parts for snapshots of its own, and these hold nothing that the log does not.
    """

    def __init__(self, desk: "Desk") -> None:
        super().__init__()
        self.desk = desk

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DeskSearcher(_AtTheDesk, Searcher):
    """Gives Tune the next piece of work when it asks for a configuration."""

    def suggest(self, trial_id: str) -> Any:
        return self.desk.next_work()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The log knows already."""

    def save(self, checkpoint_path: str) -> None:
        """The log is the state."""


class DeskScheduler(_AtTheDesk, FIFOScheduler):
    """Tells Tune what becomes of a trial after an epoch. To Tune, a pause is an end, too."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        continues = self.desk.take_in(trial.config["work"].trial_id, result["epoch"])
        return str(TrialScheduler.CONTINUE if continues else TrialScheduler.STOP)


class DeskCallback(_AtTheDesk, tune.Callback):
    """Tells the desk of a trial that failed, or whose process was lost; and that time goes on."""

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        self.desk.heed()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self.desk.fail(trial.config["work"].trial_id, _error_of(trial))


def _error_of(trial: Any) -> Exception:
    """Returns the error of a trial of Tune's; one of Tune's own is kept as text alone.

    It is read from the files in which Tune has just put it: `Trial.get_pickled_error` looks for
    them in the experiment's storage, where they come only after callbacks are called.
    """
    if file := trial.pickled_error_file:
        error: Exception = cloudpickle.loads(Path(file).read_bytes())
        return error
    file = trial.error_file
    return RuntimeError(Path(file).read_text(encoding="utf-8") if file else "")


class Desk:
    """Lets Tune's events meet the log: hands out work, takes in epochs, records how trials end.

    State: the log; `reason`, once the agenda is empty; `broken`, once the run cannot continue. An
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
        requests: Requests | None = None,
    ) -> None:
        self.experiment, self.agenda = experiment, agenda
        self.run, self.log, self.slots, self.requests = run, log, slots, requests
        self.reason: Reason | None = None
        self.broken: RunFailedError | None = None

    def next_work(self) -> dict[str, Work] | str | None:
        """Returns a trial for Tune, or what Tune's searchers say for 'not now' and 'no more'."""
        with self._keeping_what_breaks():
            if not self.broken and not self.reason:
                return self._hand_out()
        return str(Searcher.FINISHED)

    def heed(self) -> None:
        """Takes in what a person has asked since; Tune's loop calls it some times a second."""
        with self._keeping_what_breaks():
            if self.requests is not None and not self.broken:
                self.requests.take_in(self.log)

    def _hand_out(self) -> dict[str, Work] | str | None:
        # Without any running trial, one begins even if there is no room: an autoscaler starts
        # nodes only for what waits.
        if 0 < len(self.log.history.active) >= self.slots():
            return None
        work = next_work(self.agenda, self.log.history, self.log.append)
        if work == WAIT:
            return None
        if not isinstance(work, Work):
            self.reason = work
            return str(Searcher.FINISHED)
        if work.checkpoint and not (self.run.shared / work.checkpoint).is_whole_zip():
            # It was removed, or cut off by a power failure.
            work = replace(work, epochs_done=0, checkpoint=None)
        self.log.append(work.record())
        # As one object: Tune would take a mapping of dotted names apart.
        return {"work": work}

    def take_in(self, trial_id: str, done: TrainedEpoch) -> bool:
        """Records an epoch and what becomes of its trial; returns whether that continues."""
        with self._keeping_what_breaks():
            if not self.broken:
                epoch = epoch_record(done, trial_id=trial_id, run=self.run)
                record_epoch(epoch, run=self.run, log=self.log)
                search = self.experiment.search
                return settle_trial(search, trial_id, run=self.run, log=self.log) == "running"
        return False

    def fail(self, trial_id: str, error: Exception) -> None:
        """Records what a trial's error means for it and for the run.

        A trial that was interrupted is on the agenda again, and another process takes it on.
        """
        if is_disk_full(error):
            self.broken = self.broken or RunFailedError(f"{trial_id}: {DISK_FULL}")
        trial = self.log.history.trials[trial_id]
        again = self.broken is not None or trial.losses < self.experiment.resources.max_failures
        state, reason = state_after_error(error, may_go_on=again)
        with self._keeping_what_breaks():
            end_trial(trial_id, state, run=self.run, log=self.log, error=reason)

    def interrupt(self) -> None:
        """Marks what was running at Ctrl-C, to continue when the run is resumed."""
        with self._keeping_what_breaks():
            for trial_id in list(self.log.history.active):
                end_trial(trial_id, "interrupted", run=self.run, log=self.log)

    @contextmanager
    def _keeping_what_breaks(self) -> Iterator[None]:
        try:
            yield
        except RunFailedError as error:
            self.broken = self.broken or error
