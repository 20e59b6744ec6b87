"""split.json: which image is in which part of a run's data, by name."""

from inat_ray.data.dataset import DataSet
from inat_ray.run.folder import RunFolder


def keep_split(run: RunFolder, data: DataSet) -> None:
    """Writes split.json, unless the run has one: a resumed run keeps what it began with."""
    if not run.split.exists():
        data.split.write(run.split, data.pack)
        run.keep(run.split)
