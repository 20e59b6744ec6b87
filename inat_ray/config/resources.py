"""The `resources` section: the part of a machine or a cluster that a training may use."""

from pydantic import Field, model_validator

from inat_ray.config.section import PathText, Section


class Resources(Section):
    """The part of a machine or a cluster that one training may use."""

    workers_per_trial: int = Field(1, ge=1, le=4096)
    """Processes that train one model together, data-parallel. `train --workers` sets it."""
    gpus_per_worker: float | None = Field(None, ge=0)
    """GPUs of each worker. null: one if the machine or cluster has any, else none. A fraction lets
    trials share a GPU."""
    accelerator_type: str | None = None
    """Use only GPUs of this type, by Ray's name (L4, A100, H100), if a cluster has several."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPU cores of each worker; if it computes on the CPU, also its threads."""
    niceness: int = Field(0, ge=0, le=19)
    """How far trials stand back for other work on their machine, as `nice` counts: 0 not at all, 19
    wherever anything else wants the CPU."""
    max_concurrent: int | None = Field(None, ge=1)
    """Most trials that run at once. null: as many as the resources allow."""
    final_workers: int | None = Field(None, ge=1, le=4096)
    """Workers that train the winner. null: one for each GPU if there are two or more."""
    storage_path: PathText | None = None
    """Where runs are kept in addition to their folder, so that all nodes see their checkpoints and
    another machine can continue them: s3://BUCKET/PREFIX, gs://..., or a folder that all nodes
    share. `--storage-path` or INAT_RAY_STORAGE_PATH sets it. A cluster of several nodes needs
    it."""
    max_failures: int = Field(3, ge=0)
    """How often a data-parallel epoch is retried after one of its workers died."""

    @model_validator(mode="after")
    def _workers_have_devices(self) -> "Resources":
        gpus = self.gpus_per_worker or 0
        if gpus != int(gpus) and (self.workers_per_trial > 1 or gpus > 1):
            raise ValueError(
                f"gpus_per_worker {gpus}: workers that train together need whole GPUs, and a single"
                " one takes whole GPUs or a part of one"
            )
        if self.accelerator_type is not None and self.gpus_per_worker == 0:
            raise ValueError("accelerator_type names a type of GPU, and gpus_per_worker is 0")
        return self
