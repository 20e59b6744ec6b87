"""split.json: which image is in which part of a run's data, by name."""

from inat_ray.config.errors import UserError
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import Split
from inat_ray.run.folder import RunFolder


def keep_split(run: RunFolder, data: DataSet) -> None:
    """Writes split.json when a run begins, and compares it with the data when the run goes on.

    Raises UserError if the images are not those that the run began with.
    """
    if not run.split.exists():
        data.split.write(run.split, data.pack)
        run.keep(run.split)
        return
    before = Split.read(run.split, data.pack)
    for name in data.SUBSETS:
        if getattr(before, name).tolist() != data.subset(name).tolist():
            raise UserError(
                f"--resume {run.path}: the data have changed: {run.split.name} has other"
                f" {name} images"
            )
