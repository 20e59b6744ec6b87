from pathlib import Path

import pytest
from pydantic import ValidationError

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import dump_experiment, load_experiment
from inat_ray.config.model import CnnConfig, ResnetConfig

RESNET = "model={kind: resnet}"


def load(*settings: str) -> Experiment:
    return load_experiment(None, settings=settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model={kind: vit}"], "kind must be cnn, pretrained, resnet or module"),
        (
            ["recipe.initial_scale=0.5"],
            "recipe.initial_scale 0.5: without model.global_pool, the cnn's dense layer fits one"
            " size of images; 1 is allowed, or global_pool true",
        ),
        (["recipe.train_scale=0.75"], "recipe.train_scale 0.75: without model.global_pool"),
        ([RESNET, "model.filters=[1, 2]"], "model.filters: there is no such setting"),
        ([RESNET, "model.freez={}"], "did you mean 'freeze'?"),
        (["model.filter=[1]"], "did you mean 'filters'?"),
        (
            [RESNET, "model.freeze={strategy: fraction, fraction: 1.5}"],
            "--set: model.freeze.fraction: 1.5: should be less than 1",
        ),
        ([RESNET, "model.freeze={strategy: fraction}"], "strategy fraction needs fraction"),
        ([RESNET, "model.freeze={strategy: head_only, k: 3}"], "strategy head_only takes no k"),
        ([RESNET, "model.freeze={strategy: half}"], "model.freeze.strategy: 'half'"),
        ([RESNET, "model.freeze={strategie: none}"], "did you mean 'strategy'?"),
        (["model={kind: resnet, backbone: resnet18}"], "resnet18 has imagenet1k_v1 alone"),
        (
            ["resources={workers_per_trial: 2, gpus_per_worker: 0.5}"],
            "workers that train together need whole GPUs",
        ),
        (
            ["model={kind: pretrained, backbone: vit_b_16, weights: none}", "data.image_size=100"],
            "data.image_size 100: vit_b_16 has patches of 16 pixels; a multiple of it is allowed,"
            " such as 96 or 112",
        ),
        (["model.squeeze_excite=8"], "squeeze_excite is a part of residual blocks"),
        (["resources.workers_per_trial=65"], "recipe.batch_size 64 is split over 65 workers"),
        (
            ["search.final_validation_fraction=0.3"],
            "search.final_validation_fraction 0.3: is above data.validation_fraction 0.2",
        ),
        (
            ["search.final_validation_fraction=0.1", "data.source=x", "data.validation=y"],
            "data.validation names the validation images",
        ),
        (["resources.final_workers=65"], "recipe.batch_size 64 is split over 65 workers"),
    ],
)
def test_what_does_not_go_together_is_told(settings, message):
    with pytest.raises(UserError) as caught:
        load(*settings)
    assert message in str(caught.value)


def test_a_model_is_a_cnn_unless_it_says_otherwise():
    assert isinstance(load("model.dense=7").model, CnnConfig)
    assert isinstance(load(RESNET).model, ResnetConfig)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ([RESNET], 224),
        ([RESNET, "data.image_size=96"], 96),
        ([RESNET, "data.fit=pad"], 224),
        (["model={kind: resnet, weights: none}"], 64),
        (["model.dense=7"], 64),
        (["data.image_size=null"], 64),
        ([RESNET, "data.image_size=96", "data.image_size=null"], 224),
        ([RESNET, "search.parameters.recipe.lr={value: 1}"], 224),
        ([RESNET, "search.parameters.model.backbone={values: [resnet50]}"], None),
        ([RESNET, "search.parameters.model={value: {}}", "data.image_size=96"], 96),
    ],
)
def test_pretrained_weights_bring_their_image_size(settings, size):
    assert load(*settings).data.image_size == size


@pytest.mark.parametrize(
    ("initial", "whole", "sides"),
    [
        (0.5, 1.0, [64] * 6 + [96, 96, 128, 128]),
        (0.1, 1.0, [32] * 6 + [64, 96, 128, 128]),
        (1.0, 1.0, [128] * 10),
        (1.0, 0.8, [102] * 10),
        (0.5, 0.75, [64] * 8 + [96] * 2),
        (1.0, 0.1, [32] * 10),
    ],
)
def test_images_grow_from_half_of_the_epochs_to_the_last_fifth(initial, whole, sides):
    scales = (f"recipe.initial_scale={initial}", f"recipe.train_scale={whole}")
    experiment = load("data.image_size=128", "model.global_pool=true", *scales)
    assert experiment.recipe.epochs == 10
    assert [experiment.side_in(epoch) for epoch in range(10)] == sides


def test_a_resnet_takes_nothing_over_from_the_cnn_that_it_extends(tmp_path: Path):
    (tmp_path / "cnn.yaml").write_text("model: {filters: [1, 2, 3, 4, 5]}\nrecipe: {epochs: 3}")
    (tmp_path / "resnet.yaml").write_text("extends: cnn.yaml\nmodel: {kind: resnet}")
    experiment = load_experiment(tmp_path / "resnet.yaml")
    assert experiment.model == ResnetConfig(kind="resnet")
    assert experiment.recipe.epochs == 3


def test_another_strategy_takes_nothing_over_from_the_one_that_it_replaces(tmp_path: Path):
    (tmp_path / "a.yaml").write_text(
        "model: {kind: resnet, dropout: 0.1, freeze: {strategy: first_k, k: 3}}"
    )
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nmodel: {freeze: {strategy: head_only}}")
    model = load_experiment(tmp_path / "b.yaml").model
    assert isinstance(model, ResnetConfig)
    assert (model.freeze.strategy, model.freeze.k, model.dropout) == ("head_only", None, 0.1)


def test_a_resnets_experiment_is_written_and_read_back(tmp_path: Path):
    experiment = load(RESNET, "model.freeze={strategy: fraction, fraction: 0.5}")
    (tmp_path / "e.yaml").write_text(dump_experiment(experiment))
    assert load_experiment(tmp_path / "e.yaml") == experiment
    assert Experiment.model_validate_json(experiment.model_dump_json()) == experiment


def test_every_experiment_of_the_project_is_valid():
    folder = Path(__file__).parents[2] / "experiments"
    for path in sorted(folder.glob("*.yaml")):
        assert load_experiment(path).name == path.stem


@pytest.mark.parametrize(
    "search",
    [
        {"target": 90},
        {"target": 0},
        {"target": -0.5, "metric": {"name": "val_balanced_accuracy"}},
        {"target": -1, "metric": {"name": "val_loss", "goal": "minimize"}},
    ],
)
def test_a_target_that_can_never_be_met_or_is_met_at_once_is_refused(search):
    with pytest.raises(ValidationError, match=f"target {search['target']}"):
        Experiment.model_validate({"search": search})


def test_a_loss_may_have_a_target_above_one():
    metric = {"name": "val_loss", "goal": "minimize"}
    search = {"target": 1.5, "metric": metric}
    assert Experiment.model_validate({"search": search}).search.target == 1.5
    assert Experiment.model_validate({"search": {"target": 1}}).search.target == 1


@pytest.mark.parametrize(
    ("device", "resources"),
    [
        ("cuda", {"gpus_per_worker": 0}),
        ("cpu", {"gpus_per_worker": 1}),
        ("cpu", {"accelerator_type": "L4"}),
    ],
)
def test_a_device_that_the_resources_rule_out_is_refused(device, resources):
    with pytest.raises(ValidationError, match=f"device is {device}, and resources"):
        Experiment.model_validate({"device": device, "resources": resources})


@pytest.mark.parametrize("resources", [{"gpus_per_worker": 0}, {"gpus_per_worker": 0.5}, {}])
def test_an_automatic_device_suits_all_resources(resources):
    assert Experiment.model_validate({"resources": resources}).device == "auto"


@pytest.mark.parametrize("workers", [1, 2])
def test_more_than_a_gpu_is_whole_gpus(workers):
    resources = {"gpus_per_worker": 1.5, "workers_per_trial": workers}
    with pytest.raises(
        ValidationError, match=r"gpus_per_worker 1\.5: .* takes whole GPUs or a part of one"
    ):
        Experiment.model_validate({"resources": resources})
