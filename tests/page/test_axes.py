"""Where values stand, and that what is written there is round."""

import pytest

from inat_ray.page.axes import categories, linear, logarithmic, of_metric, power_ticks, round_ticks


def texts(axis) -> list[str]:
    return [text for _, text in axis.ticks]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (3.0, 47.0, ["10", "20", "30", "40"]),
        (-0.013, 0.021, ["-0.01", "0.00", "0.01", "0.02"]),
        (1200.0, 9000.0, ["2,000", "4,000", "6,000", "8,000"]),
        (0.1, 0.2, ["0.10", "0.12", "0.14", "0.16", "0.18", "0.20"]),
    ],
)
def test_ticks_are_round(low, high, wanted):
    assert [text for _, text in round_ticks(low, high)] == wanted


def test_shares_are_written_as_everywhere():
    assert texts(of_metric("val_accuracy", [0.5, 0.9])) == ["50 %", "60 %", "70 %", "80 %", "90 %"]
    assert texts(linear("a", [0.901, 0.903], share=True))[0] == "90.10 %"
    assert texts(of_metric("val_loss", [0.5, 0.9]))[0] == "0.5"


def test_whole_numbers_have_no_ticks_between_them():
    assert texts(linear("epoch", [1, 3], whole=True)) == ["1", "2", "3"]


def test_a_log_axis_has_powers_of_ten_as_an_experiment_writes_them():
    assert texts(logarithmic("lr", [1e-4, 0.1])) == ["1e-4", "1e-3", "1e-2", "1e-1"]
    assert texts(logarithmic("n", [0.5, 200])) == ["1", "10", "100"]
    assert texts(logarithmic("n", [14, 90])) == ["20", "50"]
    thousands = logarithmic("params", [151_800, 153_400], text=lambda n: f"{n / 1000:.0f} K")
    assert texts(thousands) == ["152,000", "152,500", "153,000"]
    assert [text for _, text in power_ticks(-7.0, 7.0)] == ["1e-6", "1e-3", "1e0", "1e3", "1e6"]


def test_equal_factors_are_equally_far_apart_on_a_log_axis():
    axis = logarithmic("lr", [1e-3, 1e-1])
    assert axis.at(1e-2) == pytest.approx(0.5)
    assert axis.at(1e-3) + axis.at(1e-1) == pytest.approx(1)


def test_one_value_and_none_have_an_axis():
    assert 0 < linear("a", [5.0]).at(5.0) < 1
    assert linear("a", []).ticks
    assert 0 < logarithmic("a", [0.1]).at(0.1) < 1


def test_categories_have_equal_room_and_are_told_by_name():
    axis = categories("kind", ["a", "b"])
    assert [axis.at(0), axis.at(1)] == [0.25, 0.75]
    assert axis.text(0.8) == "b"
