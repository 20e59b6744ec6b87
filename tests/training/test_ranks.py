"""Real processes that meet over gloo, as Ray Train's workers do."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from inat_ray.config.code import Code, allow, allowed, own_code
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment, RecipeConfig
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.models.build import build_model
from inat_ray.training.fit import Fit
from inat_ray.training.ranks import ALONE, Ranks, synchronizes_batch_norm
from inat_ray.training.snapshot import augmented_pictures, take_snapshot
from tests.own_network import SOURCE, write_network

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def train_as_rank(
    rank: int,
    world_size: int,
    experiments: tuple[Experiment, ...],
    folder: Path,
    code: tuple[Code, ...],
) -> None:
    torch.set_num_threads(1)
    allow(*code)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world_size
    )
    for number, experiment in enumerate(experiments):
        torch.save(trained(experiment, Ranks(rank, world_size)), folder / f"{number}_{rank}.pt")
    dist.barrier()  # a rank that leaves early takes gloo's threads from under the others
    dist.destroy_process_group()
    # The numbers are on disk. At its ordinary end a process that has used gloo aborts now and then
    # (std::terminate, in 2 of 19 runs of this file), which says nothing of them.
    os._exit(0)


def trained(experiment: Experiment, ranks: Ranks) -> dict[str, object]:
    """After two epochs: metrics, weights and statistics of batch norm, and a snapshot."""
    fit = Fit(experiment, open_dataset(experiment.data), device=CPU, ranks=ranks)
    metrics = [fit.epoch() for _ in range(2)]
    snapshot = take_snapshot(fit, augmented=augmented_pictures(fit))
    return {
        "losses": [(m.train_loss, m.val_loss) for m in metrics],
        "accuracies": [(m.train_accuracy, m.val_accuracy) for m in metrics],
        "model": fit.model.state_dict(),
        "confusion": snapshot.confusion.tolist(),
        "mistakes": sorted(snapshot.mistakes.indices.tolist()),
    }


def of_all_ranks(world_size: int, experiment: Experiment, folder: Path) -> list[dict]:
    [found] = each_of_all_ranks(world_size, (experiment,), folder)
    return found


def each_of_all_ranks(
    world_size: int, experiments: tuple[Experiment, ...], folder: Path
) -> list[list[dict]]:
    """Trains one experiment after the other in processes that take seconds to start."""
    mp.spawn(train_as_rank, (world_size, experiments, folder, allowed()), nprocs=world_size)
    return [
        [torch.load(folder / f"{number}_{rank}.pt") for rank in range(world_size)]
        for number in range(len(experiments))
    ]


@pytest.fixture(scope="module")
def build(data_folder, small_settings):
    def build(*settings: str) -> Experiment:
        lines = [*small_settings, f"data.source={data_folder}", "recipe.batch_size=7", *settings]
        experiment = load_experiment(None, settings=[*lines, "recipe.lr=0.001", "device=cpu"])
        open_dataset(experiment.data)  # once, not in every process
        return experiment

    return build


@pytest.fixture(scope="module")
def experiments(build) -> tuple[Experiment, ...]:
    return (
        build("model.batch_norm=false", "recipe.augmentation.mixup=0.5", "recipe.optimizer=muon"),
        build("model.dropout=0.3", "recipe.ema_decay=0.9"),
    )


@pytest.fixture(scope="module")
def ranks(experiments, tmp_path_factory) -> list[list[dict]]:
    """What two ranks have of each of them."""
    return each_of_all_ranks(2, experiments, tmp_path_factory.mktemp("ranks"))


def test_unequal_shares_of_a_batch_train_as_the_whole_batch(experiments, ranks):
    """7 images a step: every image counts the same, whichever rank it is on."""
    alone = one_thread_alone(experiments[0])
    for each in ranks[0]:
        torch.testing.assert_close(each["losses"], alone["losses"], atol=1e-5, rtol=0)
        assert each["accuracies"] == alone["accuracies"]
        torch.testing.assert_close(each["model"], alone["model"], atol=1e-4, rtol=1e-3)
        assert each["confusion"] == alone["confusion"]
        assert each["mistakes"] == alone["mistakes"]


def test_ranks_end_an_epoch_with_one_model_whatever_batch_norm_saw(ranks):
    one, other = ranks[1]
    assert one["losses"] == other["losses"]
    for name, tensor in one["model"].items():
        assert tensor.equal(other["model"][name]), name


@pytest.mark.slow
def test_a_frozen_part_has_no_gradients_to_share(build, tmp_path):
    resnet = "model={kind: resnet, backbone: resnet18, weights: none}"
    freeze = "model.freeze={strategy: gradual, every: 1}"
    experiment = load_experiment(
        None,
        settings=[
            resnet,
            freeze,
            "data.image_size=32",
            "recipe.batch_size=8",
            "device=cpu",
            f"data.source={build().data.source}",
            f"data.cache={build().data.cache}",
        ],
    )
    one, other = of_all_ranks(2, experiment, tmp_path)
    assert one["losses"] == other["losses"]


def one_thread_alone(experiment: Experiment) -> dict:
    """What one process gets, with the number of threads that a rank has: others round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = trained(experiment, ALONE)
    torch.set_num_threads(threads)
    return alone


NEVER_CALLED = SOURCE.replace("self.norm(", "(").replace(
    "        maps = nn.functional",
    "        if self.training and images.shape[0] % 2: maps = self.sometimes(maps)\n"
    "        maps = nn.functional",
).replace("        self.head =", "        self.sometimes = nn.Conv2d(width, width, 1)\n"
                              "        self.head =")  # fmt: skip
"""A network with a norm that its forward never calls, and a layer that it calls for an odd number
of images: of 7, one rank has 3."""


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["none", "gradual, every: 1"])
def test_a_network_of_ones_own_may_leave_parameters_out_of_a_step(build, tmp_path, freeze):
    write_network(tmp_path, NEVER_CALLED)
    experiment = build(
        f"model={{kind: module, target: '{tmp_path}/my_net.py:Net'}}",
        f"model.freeze={{strategy: {freeze}}}",
        "recipe.ema_decay=0.9",
        "recipe.gradient_clip=1.0",
    )
    experiment = own_code(experiment)
    before = build_model(experiment, classes=3, weights=None).state_dict()
    one, other = of_all_ranks(2, experiment, tmp_path)
    assert one["losses"] == other["losses"]
    for name, tensor in one["model"].items():
        assert tensor.equal(other["model"][name]), name
    assert one["model"]["norm.weight"].equal(before["norm.weight"])
    if freeze == "none":  # in two epochs it does not thaw
        assert not one["model"]["sometimes.weight"].equal(before["sometimes.weight"])


@pytest.mark.slow
def test_two_ranks_leave_parameters_out_of_a_step_as_one_does(build, tmp_path):
    write_network(tmp_path, SOURCE.replace("self.norm(", "("))
    target = f"model={{kind: module, target: '{tmp_path}/my_net.py:Net'}}"
    experiment = own_code(build(target))
    alone = one_thread_alone(experiment)
    for each in of_all_ranks(2, experiment, tmp_path):
        torch.testing.assert_close(each["losses"], alone["losses"], atol=1e-5, rtol=0)
        torch.testing.assert_close(each["model"], alone["model"], atol=1e-4, rtol=1e-3)


ON_FEATURES = {
    "own": "model={{kind: module, target: '{folder}/my_net.py:Net', freeze: {{strategy: first_k,"
    " k: 2}}, cache_features: any_cut}}",
    "timm": "model={{kind: pretrained, source: timm, backbone: vit_tiny_patch16_224, weights: none,"
    " freeze: {{strategy: fraction, fraction: 0.5}}, cache_features: any_cut, feature_views: 2}}",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ON_FEATURES)
def test_two_ranks_on_features_of_a_frozen_part_train_as_one_does(build, tmp_path, kind):
    """Networks whose part that trains has no batch norm, which sees each rank's images alone."""
    write_network(tmp_path)
    line = ON_FEATURES[kind].format(folder=tmp_path)
    experiment = own_code(build(line, f"data.cache={tmp_path / 'cache'}"))
    open_dataset(experiment.data)
    shared = of_all_ranks(2, experiment, tmp_path)
    assert len([*(tmp_path / "cache" / "features").glob("*/train.npy")]) == 1
    alone = one_thread_alone(experiment)
    assert len([*(tmp_path / "cache" / "features").glob("*/train.npy")]) == 1
    for each in shared:
        torch.testing.assert_close(each["losses"], alone["losses"], atol=1e-5, rtol=0)
        torch.testing.assert_close(each["model"], alone["model"], atol=1e-4, rtol=1e-3)


def test_alone_nothing_is_wrapped_and_the_loss_is_the_mean():
    module = nn.Linear(2, 2)
    assert ALONE.parallel(module, may_skip=False) is module
    assert float(ALONE.mean_loss(torch.tensor([1.0, 2.0, 6.0]), images=3)) == 3.0


@pytest.mark.parametrize(
    ("wanted", "device", "batch", "workers", "expected"),
    [
        (None, CPU, 8, 2, False),
        (False, CPU, 8, 2, False),
        (True, CPU, 8, 1, False),
        (None, CUDA, 62, 2, True),
        (None, CUDA, 64, 2, False),
        (False, CUDA, 8, 2, False),
        (True, CUDA, 640, 2, True),
        (None, CUDA, 8, 1, False),
    ],
)
def test_batch_norm_is_synchronised_where_a_workers_share_is_small(
    wanted, device, batch, workers, expected
):
    recipe = RecipeConfig(sync_batch_norm=wanted, batch_size=batch)
    assert synchronizes_batch_norm(recipe, device=device, world_size=workers) is expected


def test_synchronised_batch_norm_is_refused_where_pytorch_has_none():
    with pytest.raises(UserError, match=r"recipe\.sync_batch_norm: true"):
        synchronizes_batch_norm(RecipeConfig(sync_batch_norm=True), device=CPU, world_size=2)
