from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inat_ray.config import backbones
from inat_ray.config.errors import UserError
from inat_ray.config.load import brief_experiment, load_experiment, read_sweep
from inat_ray.config.space import search_space
from inat_ray.config.space_check import check_inside
from inat_ray.config.variants import with_room_for_all
from inat_ray.config.wandb.sweep import is_wandb_sweep
from inat_ray.config.wandb.translation import UnansweredError

SWEEPS = Path(__file__).parent / "sweeps"
"""W&B sweeps as people write them, made up from public habits."""

LR = {"lr": {"min": 1e-4, "max": 1e-2}}


@pytest.fixture
def load(tmp_path):
    """Loads a sweep with these parts on top of a small one."""

    def load(*lines: str, **parts):
        path = tmp_path / "sweep.yaml"
        tree = {"method": "random", "parameters": LR} | parts
        path.write_text(yaml.safe_dump({key: part for key, part in tree.items() if part != ""}))
        return load_experiment(path, settings=lines)

    return load


@pytest.fixture
def asked(load):
    """The questions that are left, and what they say."""

    def asked(*lines: str, **parts) -> list[str]:
        with pytest.raises(UnansweredError) as caught:
            load(*lines, **parts)
        return caught.value.questions

    return asked


# --- Five sweeps ---------------------------------------------------------------------------------


def test_the_sweep_of_a_course_is_a_search_over_the_cnn():
    experiment = load_experiment(SWEEPS / "cnn_assignment.yaml")
    search = experiment.search
    assert (search.method, search.trials, search.metric.name) == ("bayes", 30, "val_accuracy")
    stopping = search.early_stopping
    assert (stopping.kind, stopping.min_epochs, stopping.reduction_factor) == ("asha", 2, 2)
    assert search.parameters["model.filters"]["values"][:3] == [
        [16, 16, 16, 16, 16],
        [16, 32, 64, 128, 256],
        [16, 8, 4, 2, 1],
    ]
    assert search.parameters["model.kernel_sizes"] == {"values": [[3] * 5, [5] * 5]}
    assert search.parameters["model.activation"] == {"values": ["relu", "gelu", "silu", "mish"]}
    assert search.parameters["recipe.augment"] == {"values": [True, False]}
    assert search.parameters["recipe.lr"] == {"values": [1e-3, 1e-4]}
    assert (experiment.recipe.epochs, experiment.image_size, experiment.seed) == (10, 128, 42)
    assert search.parameters["seed"] == {"value": 42}
    assert experiment.tracking.wandb.project == "CNN-iNaturalist"
    assert experiment.tracking.to == []


def test_a_sweep_over_fine_tuning_is_a_search_over_pretrained_networks():
    experiment = load_experiment(SWEEPS / "finetuning.yaml")
    model, search = experiment.model, experiment.search
    assert (model.kind, model.backbone, model.freeze.strategy) == (
        *("pretrained", "resnet18", "first_k"),
    )
    assert search.parameters["model.backbone"] == {"values": ["resnet18", "resnet50"]}
    assert search.parameters["model.freeze.k"] == {"values": [0, 10, 16]}
    assert search.parameters["recipe.warmup_fraction"] == {"values": [0, 0.1]}
    assert (search.early_stopping.min_epochs, experiment.recipe.epochs) == (3, 27)
    assert (search.metric.name, search.metric.goal) == ("val_loss", "minimize")


def test_nested_parameters_are_known_by_their_own_names():
    experiment = load_experiment(SWEEPS / "nested.yaml")
    assert set(experiment.search.parameters) == {
        *("seed", "recipe.optimizer", "recipe.lr", "model.dense"),
    }
    assert experiment.model.filters == [16, 32, 64, 64, 128]
    assert (experiment.model.dropout, experiment.model.activation) == (0.2, "silu")
    assert (experiment.recipe.epochs, experiment.recipe.weight_decay) == (12, 0.0)
    assert experiment.search.early_stopping.kind == "none"
    assert len(search_space(experiment).grid or ()) == 3 * 2 * 2 * 2


def test_every_kind_of_range_is_drawn_as_there():
    parameters = load_experiment(SWEEPS / "distributions.yaml").search.parameters
    assert parameters["recipe.lr"]["min"] == pytest.approx(1e-4, rel=1e-2)
    assert parameters["recipe.momentum"]["max"] == pytest.approx(0.951229)
    assert parameters["model.dropout"]["min"] == 0
    assert parameters["recipe.batch_size"] == {
        **{"distribution": "q_normal", "mu": 64, "sigma": 10, "q": 8},
    }
    assert parameters["recipe.optimizer"]["probabilities"] == [0.7, 0.3]
    assert len(parameters["model.filters"]["values"]) == 6


REFUSED = {
    "metric.name": "is not measured here",
    "early_terminate.type": "only hyperband is known",
    "parameters.warmup_steps": "is no mapping",
    "parameters.architecture": "'my_transformer' cannot be had",
    "parameters.rnn_cell": "no setting of that name",
    "parameters.num_layers": "five convolution blocks",
    "parameters.hidden_dim": "model.kind pretrained has no dense",
    "parameters.optimizer": "'rmsprop' cannot be had",
    "parameters.lr": "W&B draws 1.00001 to 1.10517",
    "parameters.learning_rate": "as parameters.lr is",
    "parameters.scheduler": "'StepLR' cannot be had",
    "parameters.step_size": "nearest is recipe.schedule warmup_stable_decay",
    "parameters.gamma": "does not fall in steps",
    "parameters.unfreeze_layers": "1 cannot be had; true, false, all, head_only",
    "parameters.backbone_lr": "a share of recipe.lr",
    "parameters.dropout": "'beta'",
}

ANSWERS = [
    "metric.name=val_accuracy",
    "early_terminate=null",
    "parameters.warmup_steps=null",
    "parameters.architecture.values=[resnet18, resnet50]",
    "parameters.rnn_cell=null",
    "parameters.num_layers=null",
    "parameters.hidden_dim=null",
    "parameters.optimizer.values=[adam]",
    "parameters.lr.distribution=log_uniform_values",
    "parameters.learning_rate=null",
    "search.parameters.recipe.schedule={values: [constant, cosine]}",
    *("parameters.step_size=null", "parameters.gamma=null"),
    "parameters.unfreeze_layers=null",
    "recipe.backbone_lr_factor=0.1",
    "model.dropout=0.1",
]


@pytest.fixture
def only_resnets(monkeypatch):
    """Neither library is there, so that nobody waits for them."""

    def missing(name: str) -> None:
        raise ValueError(name)

    monkeypatch.setattr(backbones, "_torchvision_names", list)
    monkeypatch.setattr(backbones, "_timm_tags", missing)


@pytest.mark.usefixtures("only_resnets")
def test_what_cannot_be_had_is_asked_about_all_at_once_and_can_be_answered():
    path = SWEEPS / "not_to_be_had.yaml"
    with pytest.raises(UnansweredError) as caught:
        load_experiment(path)
    told = dict(question.split(": ", 1) for question in caught.value.questions)
    assert told.keys() == REFUSED.keys()
    for key, reason in REFUSED.items():
        assert reason in told[key]
        assert "--set" in told[key]
    assert str(caught.value).splitlines()[0].startswith(f"{path}: metric.name: 'bleu'")
    experiment = load_experiment(path, settings=ANSWERS)
    assert set(experiment.search.parameters) == {
        *("model.backbone", "recipe.lr", "recipe.schedule"),
    }
    assert (experiment.model.dropout, experiment.recipe.optimizer) == (0.1, "adam")
    for k, answer in enumerate(ANSWERS):
        with pytest.raises(UnansweredError) as caught:
            load_experiment(path, settings=[*ANSWERS[:k], *ANSWERS[k + 1 :]])
        assert len(caught.value.questions) == 1, answer


@pytest.mark.parametrize("name", ["cnn_assignment", "finetuning", "nested", "distributions"])
def test_a_saved_sweep_is_exactly_the_same_search(name, tmp_path):
    experiment = load_experiment(SWEEPS / f"{name}.yaml")
    saved = tmp_path / "mine.yaml"
    saved.write_text(brief_experiment(experiment))
    assert load_experiment(saved) == experiment
    whole = with_room_for_all(experiment, where=name)
    check_inside(whole, search_space(whole), where=name)


# --- Its parts -----------------------------------------------------------------------------------


def test_an_experiment_is_no_sweep():
    assert is_wandb_sweep({"method": "grid", "parameters": {}})
    assert not is_wandb_sweep({"search": {"method": "grid", "parameters": {}}})
    assert not is_wandb_sweep({"name": "x", "parameters": {}, "model": {}})


def test_a_sweep_without_a_method_or_with_a_strange_one_is_asked_about(asked, load):
    assert "method" in asked(method="")[0]
    assert "'custom'" in asked(method="custom")[0]
    assert load("search.method=grid", method="custom").search.method == "grid"
    assert load("method=bayes", method="").search.method == "bayes"


def test_a_key_that_wandb_does_not_know_is_asked_about(asked, load):
    assert asked(paramters={}) == [
        "paramters: W&B has no such key; --set paramters=null leaves it out"
    ]
    load("paramters=null", paramters={})


@pytest.mark.parametrize(
    ("name", "goal", "ours"),
    [
        ("val/acc", "maximize", "val_accuracy"),
        ("Validation Loss", None, "val_loss"),
        ("error_rate", "minimize", "val_accuracy"),
        ("f1", None, "val_macro_f1"),
    ],
)
def test_a_metric_has_many_names(load, name, goal, ours):
    metric = {"name": name} | ({"goal": goal} if goal else {})
    assert load(metric=metric).search.metric.name == ours


def test_a_metric_that_would_not_do_is_named_with_the_reason(asked, load):
    assert "test set is looked at once" in asked(metric={"name": "test_acc"})[0]
    assert "validation images" in asked(metric={"name": "train_loss"})[0]
    wrong = {"name": "val_acc", "goal": "minimize"}
    assert "is to maximize; --set metric.goal=maximize" in asked(metric=wrong)[0]
    assert load("metric.goal=maximize", metric=wrong).search.metric.name == "val_accuracy"
    assert load("metric.name=val_ece", metric={"name": "mIoU"}).search.metric.name == "val_ece"


def test_a_target_of_an_error_is_one_of_the_accuracy(load):
    assert load(metric={"name": "val_acc", "target": 0.9}).search.target == 0.9
    target = load(metric={"name": "error_rate", "goal": "minimize", "target": 0.1}).search.target
    assert target == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("rule", "first", "factor"),
    [
        ({"min_iter": 3}, 3, 3),
        ({"min_iter": 2, "eta": 2, "strict": True}, 2, 2),
        ({"max_iter": 27, "s": 2}, 3, 3),
        ({"max_iter": 20, "s": 9, "eta": 4}, 1, 4),
    ],
)
def test_hyperband_compares_after_the_epochs_that_it_names(load, rule, first, factor):
    experiment = load(early_terminate={"type": "hyperband", **rule})
    found = experiment.search.early_stopping
    assert (found.kind, found.min_epochs, found.reduction_factor) == ("asha", first, factor)
    assert (experiment.recipe.schedule, experiment.recipe.warmup_fraction) == ("cosine", 0.05)


def test_another_rule_on_the_command_line_keeps_the_epochs_that_hyperband_names(load):
    rule = {"type": "hyperband", "min_iter": 2}
    line = "search.early_stopping.kind=asha_promotion"
    found = load(line, early_terminate=rule).search.early_stopping
    assert (found.kind, found.min_epochs) == ("asha_promotion", 2)
    assert load(line, early_terminate={"type": "envelope"}).search.early_stopping.min_epochs == 1
    untouched = load("search.early_stopping.kind=none", early_terminate=rule).recipe.schedule
    assert untouched == "one_cycle"


def test_a_schedule_that_is_named_stays(load):
    rule = {"type": "hyperband", "min_iter": 1}
    assert load("recipe.schedule=one_cycle", early_terminate=rule).recipe.schedule == "one_cycle"
    named = LR | {"scheduler": {"value": "constant"}}
    assert load(early_terminate=rule, parameters=named).recipe.schedule == "constant"


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"type": "hyperband"}, "needs min_iter"),
        ({"type": "hyperband", "max_iter": 2, "s": 2}, "leaves a first comparison"),
        ({"type": "hyperband", "min_iter": 1, "eta": 1.5}, "whole number from 2"),
        ({"type": "hyperband", "min_iter": "soon"}, "in place of a number"),
    ],
)
def test_a_rule_without_a_counterpart_is_asked_about(asked, rule, reason):
    assert reason in asked(early_terminate=rule)[0]


def test_arguments_that_the_command_fixes_are_constants(load):
    command = ["${env}", "torchrun", "--nproc=2", "${program}", "--epochs=7", "--batch_size", "16"]
    experiment = load(command=[*command, "--augment", "${args}"])
    assert (experiment.recipe.epochs, experiment.recipe.batch_size) == (7, 16)
    assert experiment.recipe.augment is True


def test_without_a_cap_the_reader_is_told_that_wandb_would_go_on(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump({"method": "random", "parameters": LR}))
    rows = {row.ours: row.note for row in read_sweep(path).rows}
    assert "goes on until it is stopped" in rows["search.trials"]
    trials = {"search.trials": ("--trials", 5)}
    assert load_experiment(path, options=trials).search.trials == 5


def test_null_leaves_out_a_group_of_parameters(load):
    group = {"decoder": {"parameters": {"depth": {"value": 3}, "width": {"value": 4}}}}
    experiment = load("parameters.decoder=null", parameters=LR | group)
    assert set(experiment.search.parameters) == {"recipe.lr"}


def test_a_dotted_name_is_changed_like_any_other(load):
    parameters = {"optimizer.lr": {"value": 0.1}, "optimizer.type": {"values": ["sgd", "lion"]}}
    lines = ["parameters.optimizer.lr.values=[0.1, 0.2]", "parameters.optimizer.type.values=[sgd]"]
    experiment = load(*lines, parameters=parameters)
    assert experiment.search.parameters == {"recipe.lr": {"values": [0.1, 0.2]}}
    assert experiment.recipe.optimizer == "sgd"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 600),
    st.floats(-9, 9),
    st.sampled_from(["relu", "yes", "1e-4", "nan", "same", "resnet18", "val_acc", "9" * 320]),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.just("x"), SCALARS))
SPECS = st.dictionaries(
    st.sampled_from(["value", "values", "min", "max", "mu", "sigma", "q", "probabilities"]),
    VALUES,
    max_size=4,
).flatmap(
    lambda spec: st.sampled_from(["", "log_uniform", "q_normal", "q_uniform", "int_uniform"]).map(
        lambda name: spec | ({"distribution": name} if name else {})
    )
)
NAMES = [
    *("lr", "freeze_layers", "num_filters", "filter_org", "img_size", "kernel_size", "model"),
    *("backbone_lr", "warmup_epochs", "epochs", "unfreeze_layers", "scheduler", "gamma", "fc1"),
    *(f"filters_{block}" for block in range(1, 6)),
]
ANYTHING = st.fixed_dictionaries(
    {"method": VALUES, "parameters": st.dictionaries(st.sampled_from(NAMES), SPECS | VALUES)},
    optional={"metric": VALUES, "early_terminate": VALUES, "run_cap": VALUES, "command": VALUES},
)


@settings(max_examples=150, deadline=None)
@given(tree=ANYTHING)
def test_whatever_a_sweep_holds_it_is_read_or_said_what_is_wrong(tree, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.yaml"
    path.write_text(yaml.safe_dump(tree))
    with suppress(UserError):
        search_space(load_experiment(path))
