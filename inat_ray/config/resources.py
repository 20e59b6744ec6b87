"""What a training may take of a machine or a cluster, as a person writes it."""

from pydantic import Field, model_validator

from inat_ray.config.settings import PathText, Settings


class Resources(Settings):
    """What one training takes."""

    workers_per_trial: int = Field(1, ge=1, le=4096)
    """Processes that train one model together, data-parallel; `train --workers` sets it."""
    gpus_per_worker: float | None = Field(None, ge=0)
    """None: one GPU where the cluster has any, else none. Fractions let trials share a GPU."""
    accelerator_type: str | None = None
    """Take GPUs of this kind alone, as Ray calls it (L4, A100, H100), of several in a cluster."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPU cores, and on CPUs the threads, of a worker."""
    max_concurrent: int | None = Field(None, ge=1)
    """None: as many trials at once as the resources allow."""
    final_workers: int | None = Field(None, ge=1, le=4096)
    """Workers of the winner's training. None: a worker a GPU where there are two or more."""
    storage_path: PathText | None = None
    """Where runs are kept besides their folder, so that every node sees their checkpoints and
    another machine can go on: s3://BUCKET/PREFIX, gs://..., or a folder that all nodes share.
    `--storage-path` sets it, or INAT_RAY_STORAGE_PATH. A cluster of several nodes needs it."""
    max_failures: int = Field(3, ge=0)
    """How often a data-parallel epoch is tried again after one of its workers died."""

    @model_validator(mode="after")
    def _workers_have_devices(self) -> "Resources":
        gpus = self.gpus_per_worker or 0
        if gpus != int(gpus) and (self.workers_per_trial > 1 or gpus > 1):
            raise ValueError(
                f"gpus_per_worker {gpus}: workers that train together need whole GPUs, and a single"
                " one takes whole GPUs or a part of one"
            )
        if self.accelerator_type is not None and self.gpus_per_worker == 0:
            raise ValueError("accelerator_type is of GPUs, and gpus_per_worker is 0")
        return self
