"""A run log with everything that watches it: live progress, TensorBoard, tables at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from inat_ray.inspection.progress import RunProgress
from inat_ray.inspection.tables import write_tables
from inat_ray.inspection.tensorboard import TensorBoardObserver
from inat_ray.tuning.run_folder import RunFolder
from inat_ray.tuning.run_log import RunLog


@contextmanager
def observed_log(run: RunFolder, console: Console) -> Iterator[RunLog]:
    """The open log of `run`. However the context ends, the tables hold what the log holds."""
    tensorboard = TensorBoardObserver(run.tensorboard)
    with RunProgress(console) as progress, RunLog(run.log, [tensorboard, progress]) as log:
        try:
            yield log
        finally:
            tensorboard.close()
            write_tables(log.history, run.path)
