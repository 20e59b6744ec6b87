"""MLflow: an experiment holds a run a sweep, and below it a run a trial."""

import logging
import os
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient, get_tracking_uri
from mlflow.entities import Metric, Param, Run
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
"""Settings of MLflow unless the user has others: its own patience of several minutes would hide an
outage (we try again ourselves), and stdout is for the result."""

MOST_PARAMETERS, LONGEST_VALUE = 100, 500
"""Parameters of one request, characters of one value: the least that any server takes."""


def check_mlflow(config: MlflowConfig, *, name: str) -> None:
    """Raises UserError where a run of the experiment `name` could not be told to MLflow."""
    try:
        experiment = _client(config).get_experiment_by_name(config.experiment or name)
    except Exception as error:  # of the address, the network, the database: many unrelated types
        uri = _public(_uri(config))
        raise UserError(f"tracking.mlflow.uri: {uri} does not answer: {error}") from None
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise UserError(
            f"tracking.mlflow.experiment: {experiment.name}: was deleted at"
            f" {_public(_uri(config))}; another name is allowed, or restore it there"
        )


class MlflowTracker:
    """Told of runs by their keys; runs of a sweep that is resumed are found by a tag."""

    title = "MLflow"

    def __init__(self, config: MlflowConfig, *, name: str) -> None:
        """`name`: of the experiment, where the settings name none."""
        self._uri, self._client = _uri(config), _client(config)
        self._experiment = config.experiment or name
        self._ids: dict[str, str] = {}
        """Key -> MLflow's id of the run."""

    def open(self, run: TrackedRun) -> int:
        found = self._find(run)
        run_id = self._create(run) if found is None else found.info.run_id
        self._client.update_run(run_id, status="RUNNING")
        self._client.set_tag(run_id, "state", "running")
        self._ids[run.key] = run_id
        # Each time: a process that died may have come no further than the run itself.
        parameters = [Param(name, _shown(value)) for name, value in run.parameters.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            some = parameters[start : start + MOST_PARAMETERS]
            self._client.log_batch(run_id, params=some)
        return 0 if found is None else self._last_step(found)

    def log(self, key: str, values: Mapping[str, float], *, step: int, time: float) -> None:
        at = round(1000 * time)
        metrics = [Metric(tag, value, at, step) for tag, value in values.items()]
        self._client.log_batch(self._ids[key], metrics=metrics)

    def summarize(self, key: str, values: Mapping[str, float | str]) -> None:
        words = {name: value for name, value in values.items() if isinstance(value, str)}
        for name, word in words.items():
            self._client.set_tag(self._ids[key], name, word[:LONGEST_VALUE])
        for name in values.keys() - words.keys():
            self._client.log_metric(self._ids[key], name, float(values[name]))

    def close(self, key: str, *, state: TrialState, time: float) -> None:
        run_id = self._ids[key]
        self._client.set_tag(run_id, "state", state)
        if state == "paused":
            self._client.update_run(run_id, status=STATUS[state])
        else:
            self._client.set_terminated(run_id, STATUS[state], end_time=round(1000 * time))

    def address(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is None or not self._uri.startswith("http"):
            return f"mlflow ui --backend-store-uri {_public(self._uri)} shows {self._experiment}"
        return f"{_public(self._uri)}/#/experiments/{experiment.experiment_id}"

    def _find(self, run: TrackedRun) -> Run | None:
        wanted = f"tags.`{IDENTITY}` = '{run.identity}'"
        found = self._client.search_runs([self._experiment_id()], wanted, max_results=1)
        return found[0] if found else None

    def _create(self, run: TrackedRun) -> str:
        tags = {IDENTITY: run.identity, "kind": run.kind}
        if run.parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self._ids[run.parent]
        created = self._client.create_run(
            self._experiment_id(),
            start_time=round(1000 * run.started),
            tags=tags,
            run_name=run.name,
        )
        return str(created.info.run_id)

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(self._client.create_experiment(self._experiment))

    def _last_step(self, run: Run) -> int:
        """Of any of its series; one of the summary has the step 0."""
        series = ("val/accuracy", "search/epochs_spent")
        return max(
            (
                metric.step
                for tag in series
                if tag in run.data.metrics
                for metric in self._client.get_metric_history(run.info.run_id, tag)
            ),
            default=0,
        )


def _client(config: MlflowConfig) -> MlflowClient:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # What they say of their database would come between the lines of the progress.
    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=_uri(config))


def _uri(config: MlflowConfig) -> str:
    """Without a name and password of the environment's, which errors would show: MLflow takes them
    from variables of their own."""
    uri = config.uri or str(get_tracking_uri())
    parts = urlsplit(uri)
    if parts.username is None or not parts.scheme.startswith("http"):
        return uri
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(parts.username))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(parts.password or ""))
    return uri.replace(parts.netloc, parts.netloc.rpartition("@")[2])


def _public(uri: str) -> str:
    """An address from the environment may hold a password, or a token as its query."""
    return re.sub(r"//[^/@]*@", "//", uri).partition("?")[0]


def _shown(value: object) -> str:
    return str(value)[:LONGEST_VALUE]
