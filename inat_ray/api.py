"""inat_ray from Python: the commands as functions, for scripts and notebooks.

    import inat_ray

    run = inat_ray.Experiment.open("quickstart", {"search.trials": 4}).sweep(out="runs/mine")
    run.trials()                       # a data frame, a row a training
    model = inat_ray.load(run.best)
    model.predict(["leaf.jpg"])

A mistake of the user raises `UserError`, a run that cannot go on `RunFailedError`. Progress goes to
stderr: a live view in a terminal, plain lines in a notebook or a file. Ctrl-C, or a notebook's stop
button, raises KeyboardInterrupt once what was done is kept; `Run.resume` goes on from there.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inat_ray import options, steer, sweep, train
from inat_ray.asked import chosen
from inat_ray.config import experiment as settings_of
from inat_ray.config.code import check_named, checked_code, code_named
from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.load import Source, load_experiment
from inat_ray.config.shipped import find_experiment
from inat_ray.log.run_log import read_history
from inat_ray.run.code import admitted
from inat_ray.run.contents import read_whole
from inat_ray.run.folder import RunFolder, existing_run, model_file
from inat_ray.run.result import read_result
from inat_ray.saved_model import Model, Prediction, load
from inat_ray.training.interruption import interruptible

if TYPE_CHECKING:
    import pandas as pd

    from inat_ray.log.history import History
    from inat_ray.tuning.dry_run import DryRun
    from inat_ray.tuning.plan import Plan

__all__ = ["Experiment", "Model", "Prediction", "Run", "RunFailedError", "UserError", "load"]

PathLike = str | Path

Settings = Mapping[str, Any]
"""Dotted key -> value, as `--set` has them: {"recipe.lr": 0.01}."""


@dataclass(frozen=True)
class Experiment:
    """An experiment: a file, one that comes with inat_ray or what `auto` chose, and changes."""

    source: Source
    settings: Settings

    @classmethod
    def open(cls, source: PathLike, settings: Settings | None = None) -> "Experiment":
        """Opens an experiment by its path or shipped name, with `settings` in place of its own.

        Raises UserError that names the setting and what is allowed.
        """
        opened = cls(find_experiment(Path(source)), dict(settings or {}))
        opened._config({})
        return opened

    @classmethod
    def auto(
        cls, data: PathLike, time: str | float = "1h", settings: Settings | None = None
    ) -> "Experiment":
        """Chooses an experiment for these images, this machine and the time from now on.

        Says why on stderr; like `inat-ray sweep auto`. `settings` change it. Raises UserError.
        """
        changes = {**(settings or {}), "data.source": str(data)}
        given = {key: ("settings", value) for key, value in changes.items()}
        with _interruptible():
            found = chosen((), given | {"search.time": ("time", time)})
        return cls(found.source, {key: value for key, (_, value) in found.given.items()})

    @property
    def config(self) -> settings_of.Experiment:
        """All settings, with their defaults; `model_dump()` makes a dictionary of them."""
        return self._config({})

    def sweep(
        self,
        *,
        data: PathLike | None = None,
        out: PathLike | None = None,
        trials: int | None = None,
        seed: int | None = None,
        overwrite: bool = False,
        storage_path: str | None = None,
        warm_start: PathLike | Sequence[PathLike] = (),
        address: str | None = None,
        verbose: bool = False,
    ) -> "Run":
        """Searches, trains the winner, and looks at the test set once; like `inat-ray sweep`.

        `data` is a folder of labeled photographs, "inaturalist-12k" or "demo"; `out` the run's
        folder, runs/<name>-<time> if not given; `warm_start` other sweeps, or "auto". Raises
        UserError, RunFailedError.
        """
        given = _given(data=data, seed=seed, trials=trials) | options.storage_option(storage_path)
        runs = [warm_start] if isinstance(warm_start, PathLike) else warm_start
        with _interruptible():
            plan = self._plan(
                given, out=_path(out), overwrite=overwrite, warm_start=list(map(Path, runs))
            )
            folder, _ = sweep.run_sweep(plan, address=address, overwrite=overwrite, verbose=verbose)
        return Run(folder)

    def train(
        self,
        *,
        data: PathLike | None = None,
        out: PathLike | None = None,
        seed: int | None = None,
        test: bool = False,
        workers: int | None = None,
        overwrite: bool = False,
        storage_path: str | None = None,
        address: str | None = None,
        verbose: bool = False,
    ) -> "Run":
        """Trains this one configuration and keeps its best epoch; like `inat-ray train`.

        `test` looks at the test set once; `workers` processes share each batch. Raises UserError,
        RunFailedError.
        """
        given = _given(data=data, seed=seed, workers=workers)
        given |= options.storage_option(storage_path)
        with _interruptible():
            config = admitted(self._config(given), self.source)
            folder, _ = train.run_training(
                _path(out), config, overwrite=overwrite, test=test, address=address, verbose=verbose
            )
        return Run(folder)

    def dry_run(
        self,
        *,
        data: PathLike | None = None,
        trials: int | None = None,
        seed: int | None = None,
        address: str | None = None,
        verbose: bool = False,
    ) -> "DryRun":
        """Trains the largest model for a step, and estimates the sweep's time; leaves no run."""
        with _interruptible():
            plan = self._plan(_given(data=data, seed=seed, trials=trials))
            return sweep.run_rehearsal(plan, address=address, verbose=verbose)

    def _plan(self, given: options.Given, **new: Any) -> "Plan":
        with options.loading("torch", "ray"):
            from inat_ray.tuning.plan import new_plan

        return new_plan(self.source, settings=(), options=self._options | given, **new)

    @property
    def _options(self) -> options.Given:
        return {key: ("settings", value) for key, value in self.settings.items()}

    def _config(self, given: options.Given) -> settings_of.Experiment:
        return load_experiment(self.source, options=self._options | given)


@dataclass(frozen=True)
class Run:
    """The run of a sweep or of a training, finished or not."""

    path: Path

    def __init__(self, path: PathLike) -> None:
        """Raises UserError if the folder holds no run."""
        object.__setattr__(self, "path", existing_run(Path(path)).path)

    def trials(self) -> "pd.DataFrame":
        """Returns a row for each training, in order of start: hyperparameters, state, score, rank
        and cost."""
        from inat_ray.boards.parquet import trials_table

        _need_pandas()
        return trials_table(self._history).to_pandas()

    def epochs(self) -> "pd.DataFrame":
        """Returns a row for each epoch of each training: losses, accuracies, learning rate and
        seconds."""
        from inat_ray.boards.parquet import epochs_table

        _need_pandas()
        return epochs_table(self._history).to_pandas()

    @property
    def result(self) -> dict[str, Any] | None:
        """The content of result.json; None as long as the run is not finished."""
        return read_result(self._folder.result)

    @property
    def best(self) -> Path:
        """The best model's file, for `load`. Raises UserError if there is none yet."""
        return model_file(self.path)

    def resume(
        self,
        *,
        trials: int | None = None,
        settings: Settings | None = None,
        address: str | None = None,
        code: PathLike | None = None,
        changed_code: bool = False,
        verbose: bool = False,
    ) -> "Run":
        """Resumes a run that was cut off, to its end. Raises UserError if it is finished.

        With `trials`, their number in all, or with another budget, or bounds or values of
        search.parameters, as `settings`, a sweep goes on that runs (it is asked) or is finished.
        `code` is as in `load`.
        """
        lines = [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]
        with _interruptible(), code_named(code, changed=changed_code):
            if not self._is_training:
                how: dict[str, Any] = {"address": address, "verbose": verbose}
                steer.go_on(str(self.path), "--resume", settings=lines, trials=trials, **how)
                return self
            config = checked_code(load_experiment(self._folder.experiment))
            train.run_training(self.path, config, resumed=True, address=address, verbose=verbose)
        return self

    def pick(
        self,
        trial: str,
        *,
        address: str | None = None,
        code: PathLike | None = None,
        changed_code: bool = False,
        verbose: bool = False,
    ) -> "Run":
        """Trains this trial's configuration instead of the winner's for the model that is kept, and
        looks at the test set once more; like `inat-ray sweep --pick`. Raises UserError.

        `code` is as in `load`.
        """
        with _interruptible(), code_named(code, changed=changed_code):
            how: dict[str, Any] = {"address": address, "verbose": verbose}
            steer.go_on(str(self.path), "--resume", pick=trial, **how)
        return self

    def finish(self) -> "Run":
        """Ends a sweep's search, in the process that runs it or in this one: the winner is next."""
        with _interruptible():
            steer.go_on(str(self.path), "--finish")
        return self

    def stop(self, trial_id: str) -> None:
        """Ends a trial of a sweep after its present epoch, whether the sweep runs or not."""
        steer.stop_trial(f"{self.path}/{trial_id}")

    def report(
        self,
        out: PathLike | None = None,
        *,
        code: PathLike | None = None,
        changed_code: bool = False,
    ) -> Path:
        """Writes the run as one HTML page: `out`, or report.html in its folder.

        `code` is as in `load`; without it, the page lacks what a network of your own is needed for.
        """
        from inat_ray.page.report import write_report
        from inat_ray.page.reported_run import open_run

        path = _path(out) or self._folder.report
        with code_named(code, changed=changed_code):
            run = open_run(self.path)
            check_named(run.experiment)
            write_report(run, path)
        return path

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.path)

    @property
    def _history(self) -> "History":
        return read_history(self._folder.log)

    @property
    def _is_training(self) -> bool:
        experiment, history = read_whole(self.path)
        # A run that was cut off before its first record is known by whether it has a search.
        return history.is_training if history.started else not experiment.search.parameters


def _given(*, data: PathLike | None = None, **others: Any) -> options.Given:
    """Returns the keyword arguments that were given, as options of an experiment."""
    given = options.given(data=None if data is None else str(data), **others)
    return {key: (option.removeprefix("--"), value) for key, (option, value) in given.items()}


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _need_pandas() -> None:
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise UserError("data frames need pandas: pip install pandas") from None


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the work in order; only the main thread gets signals."""
    if threading.current_thread() is threading.main_thread():
        with interruptible():
            yield
    else:
        yield
