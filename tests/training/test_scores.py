import math

import numpy as np
import pytest
from sklearn import metrics

from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import (
    Confusion,
    assess,
    calibration_error,
    class_scores,
    confident_mistakes,
    confusion_matrix,
    confusions,
    cross_entropy,
    hardest_first,
    likely_wrong_labels,
    reliability,
    spread_sample,
    top_accuracy,
    wilson_interval,
)


def predictions_from(truths: list[int], probabilities: object, *, classes: str) -> Predictions:
    return Predictions(
        paths=[f"{classes[label]}/{row}.jpg" for row, label in enumerate(truths)],
        classes=list(classes),
        truths=np.array(truths, dtype=np.int64),
        probabilities=np.array(probabilities, dtype=np.float32),
    )


@pytest.fixture
def six() -> Predictions:
    """Six images of a and b, none of c: 3 of 4 a are found, 1 of 2 b; one a is taken for c."""
    return predictions_from(
        [0, 0, 0, 0, 1, 1],
        [
            [0.9, 0.1, 0.0],
            [0.9, 0.0, 0.1],
            [0.5, 0.3, 0.2],
            [0.1, 0.2, 0.7],
            [0.8, 0.1, 0.1],
            [0.2, 0.6, 0.2],
        ],
        classes="abc",
    )


@pytest.fixture
def random_predictions() -> Predictions:
    """500 images of 12 classes, of which the last has none and the one before is never said."""
    rng = np.random.default_rng(7)
    truths = rng.integers(0, 11, 500)
    logits = rng.normal(size=(500, 12)) + 1.5 * np.eye(12)[truths]
    logits[:, 10] -= 20
    odds = np.exp(logits)
    return predictions_from(
        truths.tolist(), odds / odds.sum(axis=1, keepdims=True), classes="abcdefghijkl"
    )


def test_accuracy_and_loss_are_those_of_the_six_images(six):
    found = assess(six)
    assert (found.images, found.accuracy) == (6, pytest.approx(4 / 6))
    said_of_truth = [0.9, 0.9, 0.5, 0.1, 0.1, 0.6]
    assert found.loss == pytest.approx(-sum(map(math.log, said_of_truth)) / 6, rel=1e-6)


def test_the_matrix_has_truths_in_rows(six):
    assert confusion_matrix(six).tolist() == [[3, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_what_a_class_without_images_or_predictions_lacks_is_none_and_not_zero(six):
    a, b, c = class_scores(six)
    assert (a.precision, a.recall, a.f1) == (3 / 4, 3 / 4, 3 / 4)
    assert (b.precision, b.recall, b.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (c.precision, c.recall, c.f1) == (0.0, None, 0.0)
    never = class_scores(predictions_from([0, 1], [[0.9, 0.1, 0], [0.8, 0.2, 0]], classes="abc"))
    assert (never[1].precision, never[1].recall, never[1].f1) == (None, 0.0, 0.0)
    assert (never[2].precision, never[2].recall, never[2].f1) == (None, None, None)


def test_means_over_classes_leave_out_what_is_undefined(six):
    found = assess(six)
    assert found.macro_precision == pytest.approx((3 / 4 + 1 + 0) / 3)
    assert found.macro_recall == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found.macro_f1 == pytest.approx((3 / 4 + 2 / 3 + 0) / 3)


def test_scores_are_those_of_scikit_learn(random_predictions):
    truths, guesses = random_predictions.truths, random_predictions.predictions
    precision, recall, f1, images = metrics.precision_recall_fscore_support(
        truths, guesses, labels=range(12), zero_division=np.nan
    )
    scores = class_scores(random_predictions)
    assert [s.images for s in scores] == images.tolist()
    for name, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
        mine = [getattr(s, name) for s in scores]
        assert [math.nan if v is None else v for v in mine] == pytest.approx(expected, nan_ok=True)
    matrix = metrics.confusion_matrix(truths, guesses, labels=range(12))
    assert confusion_matrix(random_predictions).tolist() == matrix.tolist()
    probabilities = random_predictions.probabilities.astype(np.float64)
    top = metrics.top_k_accuracy_score(truths, probabilities, k=5, labels=range(12))
    assert assess(random_predictions).top5_accuracy == pytest.approx(top)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    loss = metrics.log_loss(truths, probabilities, labels=range(12))
    assert cross_entropy(random_predictions) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("right", "images", "interval"),
    [
        (8, 10, (0.4902, 0.9433)),
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (81, 263, (0.2553, 0.3662)),  # Newcombe 1998, Stat. Med. 17:857-872, table I
        (0, 20, (0.0, 0.1611)),  # the same
    ],
)
def test_the_interval_is_wilsons(right, images, interval):
    assert wilson_interval(right / images, images) == pytest.approx(interval, abs=5e-5)


def test_top_accuracy_counts_the_likeliest_and_is_given_for_more_than_five_classes(six):
    assert top_accuracy(six, 1) == pytest.approx(4 / 6)
    assert top_accuracy(six, 2) == pytest.approx(5 / 6)  # the first of equals: 0.1 for b and c
    assert top_accuracy(six, 3) == 1
    assert assess(six).top5_accuracy is None


def test_a_bin_holds_its_upper_edge_and_an_empty_one_has_no_mean(six):
    bins = reliability(six, bins=2)
    low, high = bins  # 0.5 belongs to the lower half
    assert (low.low, low.high, low.images) == (0, 0.5, 1)
    assert (low.confidence, low.accuracy) == (0.5, 1.0)
    assert (high.images, high.accuracy) == (5, 3 / 5)
    assert high.confidence == pytest.approx((0.9 + 0.9 + 0.7 + 0.8 + 0.6) / 5)
    assert reliability(six)[0].confidence is None
    assert sum(each.images for each in reliability(six)) == 6


def test_the_calibration_error_weighs_bins_by_their_images(six):
    expected = (1 * (1 - 0.5) + 5 * abs(3 / 5 - 0.78)) / 6
    assert calibration_error(reliability(six, bins=2)) == pytest.approx(expected)


def test_a_model_that_is_as_right_as_it_says_has_no_calibration_error():
    sure = predictions_from([0] * 4 + [1], [[0.8, 0.2]] * 5, classes="ab")
    assert assess(sure).ece == pytest.approx(0, abs=1e-7)


def test_mistakes_are_told_from_the_most_confident_on(six):
    assert confident_mistakes(six, 12) == [4, 3]
    assert confident_mistakes(six, 1) == [4]


def test_confusions_are_the_pairs_that_occur_by_their_images(six):
    more = predictions_from([*six.truths, 1], [*six.probabilities, [1, 0, 0]], classes="abc")
    assert confusions(more) == [
        Confusion(truth="b", prediction="a", images=2, share=pytest.approx(2 / 3)),
        Confusion(truth="a", prediction="c", images=1, share=1 / 4),
    ]


def test_the_hardest_classes_come_first_and_those_without_a_score_last(six):
    assert [scores.name for scores in hardest_first(class_scores(six))] == ["c", "b", "a"]
    two = predictions_from([1, 0, 0], [[0, 1, 0], [0, 1, 0], [1, 0, 0]], classes="abc")
    scores = class_scores(two)
    assert hardest_first([scores[2], scores[0]]) == [scores[0], scores[2]]


def test_an_image_without_probabilities_has_no_confidence_and_is_in_no_bin():
    broken = predictions_from([1, 0], [[math.nan] * 3, [0.9, 0.1, 0]], classes="abc")
    found = assess(broken)
    assert found.accuracy == 0.5
    assert math.isnan(found.loss)
    assert found.ece == pytest.approx(0.1)
    assert sum(each.images for each in reliability(broken)) == 1
    assert confident_mistakes(broken, 12) == []
    nothing = predictions_from([1], [[math.nan] * 3], classes="abc")
    assert assess(nothing).ece is None


def test_a_sample_has_as_many_of_each_class_as_there_is_room_for(random_predictions):
    rows = spread_sample(random_predictions, 33)
    assert np.bincount(random_predictions.truths[rows], minlength=12).tolist() == [3] * 11 + [0]
    assert random_predictions.truths[rows[:11]].tolist() == list(range(11))
    assert len(set(rows)) == 33


def test_a_sample_knows_nothing_of_the_predictions_and_repeats_itself(random_predictions):
    other = Predictions(
        paths=random_predictions.paths,
        classes=random_predictions.classes,
        truths=random_predictions.truths,
        probabilities=random_predictions.probabilities[::-1],
    )
    assert spread_sample(random_predictions, 30) == spread_sample(other, 30)
    assert spread_sample(random_predictions, 30) != spread_sample(random_predictions, 30, seed=1)


def test_a_sample_of_few_images_is_all_and_of_many_classes_is_not_the_first_ones(
    six, random_predictions
):
    assert sorted(spread_sample(six, 30)) == list(range(6))
    assert random_predictions.truths[spread_sample(random_predictions, 4)].tolist() != [0, 1, 2, 3]


def test_a_label_is_likely_wrong_where_another_class_is_as_probable_as_on_its_own_images():
    """The model finds b no more probable than 0.6 on images of b, and a 0.9 on images of a."""
    found = predictions_from(
        [0, 0, 0, 1, 1, 1, 0, 1, 2],
        [
            [0.98, 0.02, 0.0],
            [0.97, 0.03, 0.0],
            [0.15, 0.85, 0.0],  # a taken for b, surely by the measure of b
            [0.1, 0.9, 0.0],
            [0.2, 0.8, 0.0],
            [0.6, 0.4, 0.0],  # b taken for a, which is a mistake as any other
            [0.45, 0.5, 0.05],  # as is this
            [0.98, 0.02, 0.0],  # b taken for a, surely
            [math.nan, math.nan, math.nan],
        ],
        classes="abc",
    )
    assert likely_wrong_labels(found) == [7, 2]
