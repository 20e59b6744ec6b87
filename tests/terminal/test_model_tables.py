import io

import numpy as np
import pytest
from rich.console import Console

from inat_ray.config.load import load_experiment
from inat_ray.data.split import Split
from inat_ray.terminal import model_tables
from inat_ray.terminal.model_tables import class_table, confusions_table, freeze_table, result_table
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import assess
from tests.made_up_sweep import of_now, renamed


@pytest.fixture
def predictions() -> Predictions:
    """Of four classes [a], b, c, d: two b are taken for [a], one [a] for c; of d there is none."""
    said = np.array([0, 0, 2, 0, 0, 1, 2])
    return Predictions(
        paths=[str(row) for row in range(7)],
        classes=["[a]", "b", "c", "d"],
        truths=np.array([0, 0, 0, 1, 1, 1, 2]),
        probabilities=np.eye(4, dtype=np.float32)[said],
    )


def lines_of(table) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    return [line.strip() for line in console.file.getvalue().splitlines() if line.strip()]


RESULT = {
    "val_accuracy": 0.91234,
    "val_loss": 0.25,
    "best_epoch": 2,
    "epochs": 3,
    "parameters": 4_142_085,
    "trainable_parameters": 6_405,
    "macs": 3_704_064,
    "test_accuracy": 0.9,
    "test_accuracy_interval": [0.8512, 0.93],
    "test_images": 500,
    "test_ece": 0.051,
    "test_looks": 1,
}


def told(result: dict, history=None) -> list[list[str]]:
    """The columns of each line of a result."""
    lines = lines_of(result_table(result, history))
    return [[part.strip() for part in line.split("  ") if part.strip()] for line in lines]


def test_three_numbers_lead_the_result_of_a_search_and_the_model_follows(sweep, history_of):
    anew = [
        record
        for n, seeds in enumerate(("7", "8"))
        for record in renamed(
            sweep[1:6], f"trial_0000_seed_{seeds}", purpose="confirm", seed=int(seeds) + n
        )
    ]
    rows = told(RESULT, history_of([*sweep, *anew]))
    assert rows[:3] == [
        ["best val acc", "90.0 %", "trial_0000, the best of 6 trials, so optimistic"],
        ["over 2 seeds", "90.0 ± 0.0 %", "mean ± sd of trial_0000's configuration"],
        ["test accuracy", "90.0 %", "85.1 to 93.0 % (95 % interval), 500 images"],
    ]
    assert rows[3:] == [
        ["winner", "trial_0000: lr=0.003 batch_norm=true filters=32-64"],
        ["kept model", "4.14 M parameters, 6.41 K trained; 3.7 M MACs an image"],
        ["on validation", "acc 91.2 %, loss 0.250"],
        ["on test", "ECE 5.1 %"],
        ["took", "0:05, 14 epochs; 2 saved by stopping early"],
    ]


def test_a_best_score_of_one_epoch_is_in_brackets_and_says_so(sweep, history_of):
    short = history_of([*of_now(sweep)[:1], *sweep[6:8]])
    assert told(RESULT, short)[0] == [
        "best score",
        "(25.0 %)",
        "trial_0001, the luckiest epoch of 1 trial",
    ]


def test_the_result_of_a_training_has_no_line_about_a_search(training, history_of):
    result = {name: value for name, value in RESULT.items() if not name.startswith("test")}
    assert told(result, history_of(training)) == [
        ["validation accuracy", "91.2 %", "after epoch 2 of 3, the best, so optimistic"],
        ["model", "4.14 M parameters, 6.41 K trained; 3.7 M MACs an image"],
        ["on validation", "loss 0.250"],
        ["took", "0:05, 3 epochs"],
    ]


def test_images_that_validated_and_then_trained_the_winner_are_counted(sweep, history_of):
    parts = {"search": {"images": {"train": 1600, "validation": 400}}}
    parts["data"] = {"images": {"train": 1900, "validation": 100}}
    lines = " ".join(" ".join(lines_of(result_table(RESULT | parts, history_of(sweep)))).split())
    text = "1,900 images, 300 of which validated in the search; 100 still validated"
    assert f"trained on {text}" in lines


def test_where_the_last_epoch_is_kept_validation_is_not_called_optimistic(training, history_of):
    start = training[1].model_copy(update={"keeps_last": True})
    result = RESULT | {"best_epoch": 3}
    rows = told(result, history_of([training[0], start, *training[2:]]))
    assert rows[0] == ["validation accuracy", "91.2 %", "after epoch 3 of 3, the last"]


def test_more_than_one_look_at_the_test_set_is_told():
    rows = told(RESULT | {"test_looks": 3})
    assert next(row[1] for row in rows if row[0] == "looks at test").startswith("3: the newest")


def shown(*settings: str) -> str:
    """The freeze table in 80 columns, blanks squeezed."""
    lines = ["model={kind: resnet, backbone: resnet18, weights: none}", *settings]
    split = Split(train=np.arange(100), validation=np.arange(20), test=np.arange(20))
    table = freeze_table(load_experiment(None, settings=lines), split, classes=10)
    return " ".join(" ".join(lines_of(table)).split())


def test_the_freeze_table_tells_what_trains_and_what_does_not():
    text = shown("model.freeze={strategy: first_k, k: 20}")
    assert "resnet18: freeze first_k (k 20)" in text
    assert "layers 1 20 4.8 %" in text
    assert "parameters 5,130 11,176,512 0.0 %" in text
    assert "the frozen part runs once" not in text


def test_the_freeze_table_tells_that_features_are_cached_and_how_many_views():
    head_only = "model.freeze={strategy: head_only}"
    assert "runs once, for 8 views of each training image" in shown(head_only)
    assert "runs once, for 1 view of" in shown(head_only, "recipe.augment=false")
    assert "runs once" not in shown(head_only, "recipe.augmentation.mixup=0.2")


def test_the_freeze_table_tells_how_large_features_of_another_cut_are():
    half = "model.freeze={strategy: fraction, fraction: 0.5}"
    assert "runs once" not in shown(half)
    large = "data.image_size=224"
    assert "1 view of each training image: 4 MB" in shown(half, "recipe.augment=false")
    many = shown(half, large, "model.cache_features=any_cut", "model.feature_views=1000")
    assert "features would take" in many
    assert "not cached" in many


def test_classes_stand_hardest_first_with_a_dash_for_what_is_undefined(predictions):
    _, header, _, *rows = lines_of(class_table(assess(predictions)))
    assert header.split() == ["class", "images", "precision", "recall", "F1"]
    assert [row.split()[0] for row in rows] == ["b", "[a]", "c", "d"]
    assert rows[0].split() == ["b", "3", "100.0", "%", "33.3", "%", "50.0", "%"]
    assert rows[-1].split() == ["d", "0", "-", "-", "-"]


def test_a_long_table_is_cut_and_says_where_the_rest_is(predictions, monkeypatch):
    assert "result.json" not in " ".join(lines_of(class_table(assess(predictions))))
    monkeypatch.setattr(model_tables, "SHOWN_CLASSES", 3)
    *_, last = lines_of(class_table(assess(predictions)))
    assert last == "and 1 more in result.json"


def test_confusions_are_the_most_frequent_pairs(predictions, monkeypatch):
    _, _, _, *rows = lines_of(confusions_table(predictions))
    assert [row.split() for row in rows] == [
        ["b", "[a]", "2", "66.7", "%"],
        ["[a]", "c", "1", "33.3", "%"],
    ]
    monkeypatch.setattr(model_tables, "SHOWN_CONFUSIONS", 1)
    assert len(lines_of(confusions_table(predictions))) == len(rows) + 2
