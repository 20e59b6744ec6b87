"""Data-parallel training without Ray: started by torchrun, a process a rank.

Run by tests/benchmarks/workers.py. Each rank has its share of an epoch in memory, augmented
already, and what makes one process's steps fast: so what is measured is PyTorch's
DistributedDataParallel and nothing beside it. Each rank computes all of Muon's steps; ours divide
them among the ranks. Two epochs, the first to warm up. Rank 0 prints the images/s of the second,
over all ranks, as JSON.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import typer
from torch.nn.parallel import DistributedDataParallel

from inat_ray.config.load import load_experiment
from inat_ray.data.augment import Normalize
from inat_ray.data.dataset import open_dataset
from inat_ray.models.build import build_model
from inat_ray.models.layers import layers_of
from inat_ray.models.trace import trace
from inat_ray.training.device import tune_process
from inat_ray.training.inputs import training_batches
from inat_ray.training.loss import build_loss
from inat_ray.training.parameter_groups import build_optimizer
from inat_ray.training.ranks import Ranks
from tests.benchmarks.comparison import Data, Settings


def main(data: Data, settings: Settings = None) -> None:
    experiment = load_experiment(
        Path("experiments/cnn_best.yaml"),
        settings=settings or [],
        options={"data.source": ("--data", data)},
    )
    dataset, device = open_dataset(experiment.data), torch.device("cpu")
    tune_process(device)
    dist.init_process_group("gloo")
    batches = training_batches(
        experiment,
        dataset,
        normalize=Normalize(dataset.mean, dataset.std, device),
        device=device,
        ranks=Ranks(rank=dist.get_rank(), world_size=dist.get_world_size()),
    )
    classes = len(dataset.classes)
    model = build_model(experiment, classes=classes, weights=None)
    model = model.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(
        experiment.recipe,
        layers_of(
            model,
            trace(model, torch.zeros(1, 3, experiment.data.image_size, experiment.data.image_size)),
        ),
    )
    loss = build_loss(experiment.recipe, labels=batches.labels, classes=classes, device=device)
    parallel = DistributedDataParallel(model, broadcast_buffers=False)
    ready = list(batches.epoch(0))
    speed = 0.0
    for _ in range(2):
        begin, images = time.perf_counter(), 0
        for batch in ready:
            optimizer.zero_grad()
            views = batch.images.contiguous(memory_format=torch.channels_last)
            loss(parallel(views), batch).mean().backward()
            optimizer.step()
            images += batch.total
        speed = images / (time.perf_counter() - begin)
    if dist.get_rank() == 0:
        sys.stdout.write(json.dumps(speed) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    typer.run(main)
