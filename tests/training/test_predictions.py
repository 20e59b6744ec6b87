from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.config.metrics import Tally
from inat_ray.data.dataset import open_dataset
from inat_ray.training.evaluation import Evaluation
from inat_ray.training.predictions import (
    Predictions,
    predictions_of,
    read_predictions,
    write_predictions,
)

ROWS = {
    "path": ["a/1.jpg", "b/2.jpg"],
    "truth": ["a", "b"],
    "prediction": ["b", "b"],
    "probabilities": [[0.25, 0.75], [0.5, 0.5]],
}


@pytest.fixture
def two() -> Predictions:
    return Predictions(
        paths=["a/1.jpg", "b/2.jpg"],
        classes=["a", "b"],
        truths=np.array([0, 1]),
        probabilities=np.array([[0.25, 0.75], [np.nan, np.nan]], dtype=np.float32),
    )


def written(path: Path, columns: dict[str, list[object]], classes: str | None = "a\nb") -> Path:
    about = None if classes is None else {"classes": classes}
    pq.write_table(pa.table(columns).replace_schema_metadata(about), path)
    return path


def test_class_names_of_any_characters_are_read_back(two, tmp_path):
    odd = replace(two, classes=["a\nb", '["'])
    write_predictions(odd, tmp_path / "p.parquet")
    assert read_predictions(tmp_path / "p.parquet").classes == odd.classes


@pytest.mark.parametrize("classes", ["5", "{}", "[1, 2]", "null"])
def test_classes_that_are_no_names_are_refused(classes, tmp_path):
    with pytest.raises(UserError, match="no list of names"):
        read_predictions(written(tmp_path / "p.parquet", ROWS, classes=classes))


def test_what_was_written_is_read_even_where_the_model_gave_no_number(two, tmp_path):
    write_predictions(two, tmp_path / "p.parquet")
    again = read_predictions(tmp_path / "p.parquet")
    assert (again.paths, again.classes) == (two.paths, two.classes)
    assert again.truths.tolist() == [0, 1]
    np.testing.assert_array_equal(again.probabilities, two.probabilities)
    assert again.probabilities.dtype == np.float32


def test_the_file_has_names_in_the_columns_that_are_promised(two, tmp_path):
    write_predictions(two, tmp_path / "p.parquet")
    first, second = pq.read_table(tmp_path / "p.parquet").to_pylist()
    expected = {"path": "a/1.jpg", "truth": "a", "prediction": "b", "probabilities": [0.25, 0.75]}
    assert first == expected
    assert list(first) == list(expected)
    assert second["prediction"] == "a"


def test_the_prediction_is_the_likeliest_class_and_its_probability_the_confidence(two):
    assert two.predictions.tolist() == [1, 0]
    assert two.confidences[0] == 0.75
    assert np.isnan(two.confidences[1])
    assert two.correct.tolist() == [False, False]


def test_an_evaluation_gets_the_names_of_its_images(data_folder, small_settings):
    experiment = load_experiment(None, settings=[*small_settings, f"data.source={data_folder}"])
    data = open_dataset(experiment.data)
    labels = torch.from_numpy(data.pack.labels[data.subset("test")])
    evaluation = Evaluation(
        tally=Tally(loss=0.0, confusion=torch.diag(labels.bincount())),
        probabilities=torch.eye(3)[labels],
        labels=labels,
    )
    found = predictions_of(evaluation, data=data, subset="test")
    folders = [Path(path).parent.name for path in found.paths]
    assert folders == [found.classes[label] for label in found.predictions]
    assert len(found) == 15


def test_lists_of_doubles_are_read_too(tmp_path):
    assert read_predictions(written(tmp_path / "p.parquet", ROWS)).correct.tolist() == [
        False,
        False,
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"truth": ["a", "c"]},
        {"truth": ["a", None]},
        {"path": ["a", None]},
        {"probabilities": [[0.25, 0.75], [1.0]]},
        {"probabilities": [[0.25, 0.75], None]},
        {"probabilities": [[0.25, 0.75], [None, 1.0]]},
        {"probabilities": [0.25, 0.75]},
        {"probabilities": [["a", "b"], ["c", "d"]]},
    ],
    ids=str,
)
def test_columns_that_do_not_fit_are_refused(tmp_path, change):
    path = written(tmp_path / "p.parquet", ROWS | change)
    with pytest.raises(UserError, match=r"p\.parquet: cannot be read .*evaluate makes"):
        read_predictions(path)


def test_a_table_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match='"path" does not exist'):
        read_predictions(written(tmp_path / "p.parquet", {"name": ["a"], "truth": ["a"]}))
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(written(tmp_path / "p.parquet", ROWS, classes=None))


def test_a_file_that_is_cut_off_or_absent_is_refused(two, tmp_path):
    path = tmp_path / "p.parquet"
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(path)
    write_predictions(two, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(path)


def test_a_byte_that_has_changed_is_noticed(two, tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(two, path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"a/1.jpg", b"a/2.jpg", 1))
    with pytest.raises(UserError, match=r"cannot be read .*CRC"):
        read_predictions(path)


def test_predictions_of_no_image_are_refused(tmp_path):
    schema = pa.schema([(name, pa.string()) for name in list(ROWS)[:3]])
    schema = schema.append(pa.field("probabilities", pa.list_(pa.float32(), 2)))
    empty = schema.with_metadata({"classes": "a\nb"}).empty_table()
    pq.write_table(empty, tmp_path / "p.parquet")
    with pytest.raises(UserError, match="of no image"):
        read_predictions(tmp_path / "p.parquet")
