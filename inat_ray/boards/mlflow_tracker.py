"""MLflow: a sweep is a run of an experiment, and each trial is a run below that."""

import logging
import os
import re
import time as clock
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from inat_ray.boards.trackers import TrackedRun
from inat_ray.config.errors import UserError
from inat_ray.config.tracking import MlflowConfig
from inat_ray.log.records import TrialState

STATUS: dict[TrialState, str] = {
    "running": "RUNNING",
    "paused": "SCHEDULED",
    "finished": "FINISHED",
    "stopped": "FINISHED",
    "stopped_by_hand": "FINISHED",
    "diverged": "FAILED",
    "out_of_memory": "FAILED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
"""MLflow's word for a state; the tag `state` has our own."""

IDENTITY = "inat_ray.identity"
"""Tag by which a run is found again."""

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Settings of MLflow, unless the user has others. Its default patience of several minutes would
hide an outage (we try again ourselves), and stdout is for the result."""

MOST_PARAMETERS, LONGEST_VALUE = 100, 500
"""Parameters of one request and characters of one value that every server accepts."""


def check_mlflow(config: MlflowConfig, *, name: str) -> None:
    """Raises UserError if a run of the experiment `name` could not be logged to MLflow."""
    uri = _public(_uri(config))
    try:
        experiment = _client(config).get_experiment_by_name(config.experiment or name)
    except Exception as error:  # of the address, the network, the database: many unrelated types
        raise UserError(f"tracking.mlflow.uri: {uri} does not answer: {error}") from None
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise UserError(
            f"tracking.mlflow.experiment: {experiment.name}: was deleted at {uri}; another name is"
            " allowed, or restore it there"
        )


class MlflowTracker:
    """Logs runs to MLflow. A tag finds the runs of a sweep again if it is resumed."""

    title = "MLflow"

    def __init__(self, config: MlflowConfig, *, name: str) -> None:
        """`name`: of the experiment, if the settings have none."""
        self._uri, self._client = _uri(config), _client(config)
        self._experiment = config.experiment or name
        self._ids: dict[str, str] = {}
        """Key -> MLflow's id of the run."""

    def open(self, run: TrackedRun) -> int:
        run_id = self._find(run) or self._create(run)
        self._client.update_run(run_id, status="RUNNING")
        self._client.set_tag(run_id, "state", "running")
        self._ids[run.key] = run_id
        # Also for a run that was found: its process may have died before it logged them.
        parameters = [Param(name, str(v)[:LONGEST_VALUE]) for name, v in run.parameters.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            some = parameters[start : start + MOST_PARAMETERS]
            self._client.log_batch(run_id, params=some)
        series = "search/epochs_spent" if run.kind == "sweep" else "val/accuracy"
        metrics = self._client.get_metric_history(run_id, series)
        return max((metric.step for metric in metrics), default=0)

    def log(self, key: str, values: Mapping[str, float], *, step: int, time: float) -> None:
        metrics = [Metric(tag, value, _milliseconds(time), step) for tag, value in values.items()]
        self._client.log_batch(self._ids[key], metrics=metrics)

    def summarize(self, key: str, values: Mapping[str, float | str]) -> None:
        now, metrics, tags = _milliseconds(clock.time()), [], []
        for name, value in values.items():
            if isinstance(value, str):
                tags.append(RunTag(name, value[:LONGEST_VALUE]))
            else:
                metrics.append(Metric(name, value, now, 0))
        self._client.log_batch(self._ids[key], metrics=metrics, tags=tags)

    def close(self, key: str, *, state: TrialState, time: float) -> None:
        run_id = self._ids[key]
        self._client.set_tag(run_id, "state", state)
        if state == "paused":
            self._client.update_run(run_id, status=STATUS[state])
        else:
            self._client.set_terminated(run_id, STATUS[state], end_time=_milliseconds(time))

    def address(self) -> str:
        if not self._uri.startswith("http"):
            return f"mlflow ui --backend-store-uri {_public(self._uri)} shows {self._experiment}"
        return f"{_public(self._uri)}/#/experiments/{self._experiment_id()}"

    def _find(self, run: TrackedRun) -> str | None:
        wanted = f"tags.`{IDENTITY}` = '{run.identity}'"
        found = self._client.search_runs([self._experiment_id()], wanted, max_results=1)
        return str(found[0].info.run_id) if found else None

    def _create(self, run: TrackedRun) -> str:
        tags = {IDENTITY: run.identity, "kind": run.kind}
        if run.parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self._ids[run.parent]
        created = self._client.create_run(
            self._experiment_id(),
            start_time=_milliseconds(run.started),
            tags=tags,
            run_name=run.name,
        )
        return str(created.info.run_id)

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(self._client.create_experiment(self._experiment))


def _client(config: MlflowConfig) -> MlflowClient:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # What they log about their database would come between the lines of the progress.
    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=_uri(config))


def _uri(config: MlflowConfig) -> str:
    """Returns the address without a name and password, which errors would show.

    An address from the environment may hold them: they move to MLflow's own variables for them.
    """
    uri = config.uri or str(get_tracking_uri())
    parts = urlsplit(uri)
    if parts.username is None or not parts.scheme.startswith("http"):
        return uri
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(parts.username))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    return uri.replace(parts.netloc, parts.netloc.rpartition("@")[2])


def _public(uri: str) -> str:
    """Returns an address without what may be a secret: a database's password, a query's token."""
    return re.sub(r"//[^/@]*@", "//", uri).partition("?")[0]


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
