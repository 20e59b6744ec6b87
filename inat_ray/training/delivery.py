"""The best model of a job that trains on another node, brought to where the driver is."""

from dataclasses import dataclass

import ray

from inat_ray.training.run import Job, TrainedEpoch


@dataclass(frozen=True)
class Delivery:
    """An epoch, and the model that it left on a disk that the driver may not see."""

    done: TrainedEpoch
    model: bytes | None
    """The file's content; None where it is no better than before, or on the driver's own node."""


def this_node() -> str:
    """Of the cluster's nodes."""
    node: str = ray.get_runtime_context().get_node_id()
    return node


def packed(done: TrainedEpoch, job: Job, *, driver: str) -> Delivery:
    """For a driver on node `driver`."""
    if job.model_path is None or not done.improved or this_node() == driver:
        return Delivery(done, model=None)
    return Delivery(done, model=job.model_path.read_bytes())


def unpacked(delivery: Delivery, job: Job) -> TrainedEpoch:
    """The epoch; the job's model is in place on this node when it returns."""
    if delivery.model is not None:
        assert job.model_path is not None
        job.model_path.parent.mkdir(parents=True, exist_ok=True)
        partial = job.model_path.with_suffix(".partial")
        partial.write_bytes(delivery.model)
        partial.replace(job.model_path)
    return delivery.done
