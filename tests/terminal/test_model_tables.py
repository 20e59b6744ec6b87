import io

import numpy as np
import pytest
from rich.console import Console

from inat_ray.config.load import load_experiment
from inat_ray.data.split import Split
from inat_ray.terminal.model_tables import class_table, confusions_table, freeze_table, result_table
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import assess


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


def test_a_result_is_shown_with_the_searchs_part_and_without_other_nested_ones():
    result = {
        "name": "a",
        "val_accuracy": 0.91234,
        "seconds": 1234.56,
        "macs": 3704064,
        "data": {"classes": ["x"]},
        "search": {
            "winner": "trial_0001",
            "parameters": {"recipe.lr": 0.1},
            "score": 0.92,
            "val_accuracy": 0.93,
            "trials": {"stopped": 1, "finished": 3},
            "epochs_saved": 13,
            "study": [{"parameters": {"recipe.lr": 0.1}, "n": 3, "mean": 0.9, "sd": 0.01}],
            "confirmed": [{"n": 3, "mean": 0.9, "sd": 0.01}, {"n": 1, "mean": 0.8, "sd": None}],
        },
        "test_accuracy": 0.9,
        "test_accuracy_interval": [0.8512, 0.93],
        "test_ece": 0.051,
        "test_classes": {"x": {"precision": None}},
    }
    cells = [
        tuple(part.strip() for part in line.split("  ") if part.strip())
        for line in lines_of(result_table(result))[1:]
    ]
    assert cells == [
        ("name", "a"),
        ("kept model: val_accuracy", "91.2 %"),
        ("seconds", "1,234.6"),
        ("macs", "3,704,064"),
        ("search: winner", "trial_0001"),
        ("search: parameters", "lr=0.1"),
        ("best trial: score", "92.0 %, optimistic: the best of all trials"),
        ("best trial: val_accuracy", "93.0 %"),
        ("search: trials", "3 finished, 1 stopped"),
        ("search: epochs_saved", "13"),
        ("confirmed: score", "90.0 ± 1.0 % over 3 seeds"),
        ("test_accuracy", "90.0 %"),
        ("test_accuracy_interval", "85.1 to 93.0 %"),
        ("test_ece", "5.1 %"),
    ]


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


def test_a_long_table_is_cut_and_says_where_the_rest_is(predictions):
    *_, last = lines_of(class_table(assess(predictions), most=3))
    assert last == "and 1 more in result.json"
    assert "result.json" not in " ".join(lines_of(class_table(assess(predictions), most=4)))


def test_confusions_are_the_most_frequent_pairs(predictions):
    _, _, _, *rows = lines_of(confusions_table(predictions))
    assert [row.split() for row in rows] == [
        ["b", "[a]", "2", "66.7", "%"],
        ["[a]", "c", "1", "33.3", "%"],
    ]
    assert len(lines_of(confusions_table(predictions, most=1))) == len(rows) + 2
