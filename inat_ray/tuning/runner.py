"""The search on Ray Tune: our pure decisions, plugged into Tune's interfaces.

Tune starts processes, places them and carries results; what it is told comes from the run
log, and what it tells goes there first.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from ray import tune
from ray._common.constants import HEAD_NODE_RESOURCE_NAME
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from inat_ray.config.experiment import EarlyStopping, Experiment
from inat_ray.config.space import Numeric, Parameter, SearchSpace
from inat_ray.data.dataset import DataSet
from inat_ray.tuning.cluster import TrialResources, trial_resources
from inat_ray.tuning.run_folder import RunFolder
from inat_ray.tuning.run_log import (
    EpochEnded,
    ParameterKind,
    RunLog,
    RunStarted,
    TrialEnded,
    TrialStarted,
)
from inat_ray.tuning.schedulers import state_after_epoch
from inat_ray.tuning.searchers import Suggest, planned_trials, searcher
from inat_ray.tuning.trial import Trial, TrialContext


def run_search(
    experiment: Experiment, *, space: SearchSpace, data: DataSet, run: RunFolder, log: RunLog
) -> None:
    """Runs every trial of the experiment's search to its end; needs Ray to be up.

    Everything that happens is in `log`. Raises UserError where no trial fits on the cluster,
    KeyboardInterrupt after the trials that were running are marked as interrupted.
    """
    resources = trial_resources(experiment)
    log.append(_run_started(experiment, space))
    context = TrialContext(
        experiment=experiment,
        data=data,
        run=run.path.resolve(),
        resources=resources,
    )
    trainable = tune.with_resources(
        tune.with_parameters(Trial, context=context),
        _resources_of_trial_process(resources),
    )
    recorder = Recorder(experiment, log)
    # Tune insists on a folder of its own for state that nothing here reads.
    with tempfile.TemporaryDirectory(prefix="inat_ray-tune-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=LogSearcher(experiment, space=space, log=log),
                scheduler=LogScheduler(experiment.search.early_stopping, recorder),
                num_samples=planned_trials(experiment.search, space),
                max_concurrent_trials=resources.slots,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=scratch,
                callbacks=[recorder],
                # `Trial.step` has written the state already; Tune's copy would be a second.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except KeyboardInterrupt:
            recorder.interrupt()
            raise


def _resources_of_trial_process(resources: TrialResources) -> dict[str, float]:
    """A trial of several workers takes nothing itself: they reserve what they need.

    It stays on the head node, so that it does not go with a node that is taken away.
    """
    if resources.workers == 1:
        return {"CPU": resources.cpus, "GPU": resources.gpus}
    return {"CPU": 0, HEAD_NODE_RESOURCE_NAME: 0.001}


def _run_started(experiment: Experiment, space: SearchSpace) -> RunStarted:
    search = experiment.search
    return RunStarted(
        name=experiment.name,
        method=search.method,
        metric=search.metric.name,
        goal=search.metric.goal,
        trials=planned_trials(search, space),
        epochs=experiment.recipe.epochs,
        parameters={name: parameter_kind(p) for name, p in space.parameters.items()},
    )


def parameter_kind(parameter: Parameter) -> ParameterKind:
    """What all values of a parameter have in common."""
    if isinstance(parameter, Numeric):
        return "number"
    if all(isinstance(value, bool) for value in parameter.values):
        return "boolean"
    # A bool is an int to Python, but not to a reader of the table.
    numbers = (isinstance(v, int | float) and not isinstance(v, bool) for v in parameter.values)
    return "number" if all(numbers) else "string"


class _StateIsInTheLog:
    """Tune snapshots its parts by pickling them; these have nothing that the log has not."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Recorder(_StateIsInTheLog, tune.Callback):
    """Writes what Tune reports into the run log."""

    def __init__(self, experiment: Experiment, log: RunLog) -> None:
        self.experiment = experiment
        self.log = log

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._start(trial.config)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._start(trial.config)  # a process that never came up fails before it starts
        self.end(trial.config["trial_id"], state="failed", error=_reason(trial.error_file))

    def record_epoch(self, trial: Any, result: dict[str, Any]) -> None:
        self.log.append(
            EpochEnded(
                trial_id=trial.config["trial_id"],
                checkpoint=result["checkpoint"],
                **result["metrics"],
            )
        )

    def end(self, trial_id: str, *, state: Any, error: str | None = None) -> None:
        self.log.append(TrialEnded(trial_id=trial_id, state=state, error=error))

    def interrupt(self) -> None:
        for trial in self.log.history.searched:
            if trial.state == "running":
                self.end(trial.trial_id, state="interrupted")

    def _start(self, config: dict[str, Any]) -> None:
        if config["trial_id"] in self.log.history.trials:
            return
        parameters = json.loads(config["parameters"])
        self.log.append(
            TrialStarted(
                trial_id=config["trial_id"],
                seed=config["seed"],
                parameters=parameters,
                epochs=parameters.get("recipe.epochs", self.experiment.recipe.epochs),
            )
        )


class LogSearcher(_StateIsInTheLog, Searcher):
    """Asks the pure suggestion function, with the history as it is now."""

    def __init__(self, experiment: Experiment, *, space: SearchSpace, log: RunLog) -> None:
        super().__init__()
        self.suggestion: Suggest = searcher(experiment.search)
        self.space = space
        self.log = log
        self.seed = experiment.seed
        self.number = 0

    def suggest(self, trial_id: str) -> dict[str, Any]:
        parameters = self.suggestion(self.space, self.log.history, self.seed, self.number)
        config = {
            "trial_id": f"trial_{self.number:04d}",
            "seed": int(parameters.get("seed", self.seed + self.number)),
            # One string: Tune would take dotted names and lists apart.
            "parameters": json.dumps(parameters),
        }
        self.number += 1
        return config

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The log knows already."""

    def save(self, checkpoint_path: str) -> None:
        """The log is the state."""


class LogScheduler(_StateIsInTheLog, FIFOScheduler):
    """Records each epoch, then asks the pure decision function what becomes of the trial."""

    def __init__(self, settings: EarlyStopping, recorder: Recorder) -> None:
        FIFOScheduler.__init__(self)
        self.settings = settings
        self.recorder = recorder

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        self.recorder.record_epoch(trial, trial_result(result))
        trial_id = trial.config["trial_id"]
        state = state_after_epoch(self.settings, self.recorder.log.history, trial_id)
        if state == "running":
            return str(TrialScheduler.CONTINUE)
        self.recorder.end(trial_id, state=state)
        return str(TrialScheduler.STOP)


def trial_result(flat: dict[str, Any]) -> dict[str, Any]:
    """What `Trial.step` returned, from the flat form in which Tune hands it on."""
    metrics = {
        key.removeprefix("metrics/"): value
        for key, value in flat.items()
        if key.startswith("metrics/")
    }
    return {"metrics": metrics, "checkpoint": flat["checkpoint"]}


def _reason(error_file: str | None) -> str:
    """The error's own sentence: the last line of the traceback that Tune has written."""
    text = Path(error_file).read_text(encoding="utf-8") if error_file else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "the trial's process died"
