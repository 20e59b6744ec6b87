"""A session of Ray: with a cluster that is up, or with a Ray of our own on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import services
from ray._private.utils import get_num_cpus
from ray.exceptions import AuthenticationError

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.tuning.own_ray import own_ray, signals_kept

QUIET = {
    # Ray's own per-trial files and tables; the run log, TensorBoard and our table replace them.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C is ours: Tune's handler would only save its own state and continue for a while.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Relative paths mean to a trial what they mean to the person who wrote them.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Every epoch is judged before the next begins.
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    # Tune's older output keeps quiet at verbose=0; the newer prints a box even then.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A warning of Ray's that a future release changes this by itself.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

MODULES_OF_TRIALS = ("inat_ray.tuning.ray_tune",)
"""What a trial's process imports, with PyTorch and Ray Tune below it."""

MOST_AHEAD = 8
"""Processes that start before there are trials; a search of more waits for the others, once."""

SECONDS_TO_ANSWER = 10.0
"""How long a cluster at a given address may take to accept a connection."""


@contextmanager
def ray_session(*, verbose: bool, address: str | None = None, trials: int = 0) -> Iterator[None]:
    """Keeps Ray up while the context lasts: the cluster at `address` or RAY_ADDRESS, else our own.

    A Ray that this process has joined already is used as it is. Our own starts processes for so
    many `trials` at once.

    Raises UserError if no cluster answers, RunFailedError if our own fails.
    """
    os.environ.update(QUIET)
    if ray.is_initialized():
        yield
        return
    option = "--address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS")
    # Our log and table tell of a trial that fails; Tune would print its traceback twice.
    level = logging.INFO if verbose else logging.CRITICAL
    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(level)
    settings: dict[str, Any] = {"log_to_driver": verbose, "logging_level": level}
    with (
        _joined_ray(address, given=f"{option} {address}", **settings)
        if address and address != "local"
        else own_ray(trials=trials, loads=MODULES_OF_TRIALS if trials else (), **settings)
    ):
        yield


def trials_at_once(experiment: Experiment) -> int:
    """Returns how many processes a search on this machine begins with, not more than MOST_AHEAD.

    None for trials of several workers: those are processes of Ray Train.
    """
    resources = experiment.resources
    if resources.workers_per_trial > 1:
        return 0
    cores = int(get_num_cpus()) // resources.cpus_per_worker
    return min(
        cores, resources.max_concurrent or cores, experiment.search.trials or cores, MOST_AHEAD
    )


@contextmanager
def _joined_ray(address: str, *, given: str, **settings: Any) -> Iterator[None]:
    """Joins the cluster at an address while the context lasts."""
    _check_reachable(_found_by_ray(given) if address == "auto" else address, given=given)
    try:
        with signals_kept():
            ray.init(address=address, **settings)
    except (ConnectionError, AuthenticationError) as error:
        why = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{given}: cannot connect to a Ray cluster there (refused, or wrong token): {why}"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str, *, given: str) -> None:
    """Raises UserError at once if nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():
        raise UserError(
            f"{given}: is not the address of a cluster; auto or HOST:PORT is allowed, with the port"
            " that `ray start --port` was given (6379 if none)"
        )
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(f"{given}: nothing answers there: {error}") from None


def _found_by_ray(given: str) -> str:
    """Returns what `auto` means on this machine; that cluster may be dead."""
    try:
        return str(services.get_ray_address_from_environment("auto", None))
    except ConnectionError:
        raise UserError(f"{given}: there is no Ray cluster on this machine") from None
