"""Runs a few steps of a training, to see that it fits and how long it takes."""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import torch

from inat_ray.config.code import Code, allow, allowed
from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet
from inat_ray.training.device import peak_memory, synchronize
from inat_ray.training.fit import Fit
from inat_ray.training.sums import Sums

STEPS = 4
"""Steps of a rehearsal. The first warms up; the median of the others counts."""


@dataclass(frozen=True)
class Rehearsal:
    """The cost of a step."""

    seconds: float
    images: int
    """Images in a step."""
    peak_bytes: int | None
    """The most bytes of GPU memory in use at once; None on a CPU."""


def rehearse(
    experiment: Experiment, data: DataSet, *, device: torch.device, threads: int
) -> Rehearsal:
    """Trains for a few steps in a process of its own, which may die without harm.

    Raises RunFailedError with the reason if it dies, or if a step fails.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            with _main_kept_from_children():
                steps = pool.submit(_rehearse, experiment, data, device, threads, allowed())
            return steps.result()
        except BrokenProcessPool:
            raise RunFailedError(
                "the process was killed, as the system does when memory runs out"
            ) from None
        except (RuntimeError, MemoryError) as error:  # torch's out-of-memory error is the former
            raise RunFailedError(str(error).splitlines()[0]) from None


@contextmanager
def _main_kept_from_children() -> Iterator[None]:
    """Keeps processes that are spawned meanwhile from running the program's main module again.

    multiprocessing imports it in each child, so that objects defined there can be unpickled. Here
    nothing is, and a user's script without `if __name__ == "__main__"` would start over in the
    child.
    """
    main = sys.modules["__main__"]
    spec, file = main.__spec__, main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _rehearse(
    experiment: Experiment,
    data: DataSet,
    device: torch.device,
    threads: int,
    code: tuple[Code, ...],
) -> Rehearsal:
    allow(*code)
    torch.set_num_threads(threads)
    fit = Fit(experiment, data, device=device)
    sums = Sums(len(data.classes), fit.device)
    seconds, images = [], 0
    last = experiment.recipe.epochs - 1  # by then all has thawed, and images have their full size
    fit.prepare(last)
    batches = islice(fit.inputs.batches.epoch(last), STEPS)
    begin = time.perf_counter()
    for batch in batches:
        images = max(images, batch.total)
        fit.step(batch, sums)
        synchronize(fit.device)
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    return Rehearsal(
        statistics.median(seconds[1:] or seconds), images=images, peak_bytes=peak_memory(fit.device)
    )
