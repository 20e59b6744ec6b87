"""The temperature: what it is fitted to, and what it leaves as it is."""

import math

import pytest
import torch

from inat_ray.training.calibration import SPREAD, calibrated, fitted_temperature

CPU = torch.device("cpu")


def drawn(count: int, *, temperature: float, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities of a network whose logits are off by this factor, and labels by chance."""
    draw = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, classes, generator=draw)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=draw)[:, 0]
    return (logits * temperature).softmax(dim=1), labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_a_network_is_off_by_is_found(temperature):
    probabilities, labels = drawn(20_000, temperature=temperature)
    found = fitted_temperature(probabilities, labels, device=CPU)
    assert found == pytest.approx(temperature, rel=0.04)


def test_the_likelihood_falls_on_either_side_of_it():
    probabilities, labels = drawn(300, temperature=0.5)
    found = fitted_temperature(probabilities, labels, device=CPU)

    def fit(temperature: float) -> float:
        of_truth = calibrated(probabilities, temperature).log().gather(1, labels[:, None])
        return float(of_truth.sum()) - (math.log(temperature) / SPREAD) ** 2 / 2

    assert fit(found) > max(fit(found * 1.02), fit(found / 1.02))


def test_a_few_images_that_are_all_right_do_not_make_it_extreme():
    sure = torch.tensor([[0.9, 0.1]] * 5)
    found = fitted_temperature(sure, torch.zeros(5, dtype=torch.long), device=CPU)
    assert 0.6 < found < 1


def test_a_rank_that_has_no_image_is_no_obstacle():
    found = fitted_temperature(torch.empty(0, 3), torch.empty(0).long(), device=CPU)
    assert found == pytest.approx(1, abs=1e-5)


def test_without_an_image_that_has_a_number_it_changes_nothing():
    nothing = torch.full((3, 2), math.nan)
    found = fitted_temperature(nothing, torch.zeros(3).long(), device=CPU)
    assert found == pytest.approx(1, abs=1e-5)
    assert calibrated(nothing, 0.5).isnan().all()


def test_shares_of_several_ranks_have_the_answer_of_the_whole():
    """Both ranks are here in turn: each slope of one is added to the other's of the same step."""
    probabilities, labels = drawn(500, temperature=0.5)
    whole = fitted_temperature(probabilities, labels, device=CPU)

    class Halves:
        def __init__(self) -> None:
            self.low, self.high = -2.0, 2.0

        def add_up(self, slope: torch.Tensor) -> None:
            middle = (self.low + self.high) / 2
            logs, truth = probabilities[200:].double().log(), labels[200:]
            expected = ((math.exp(-middle) * logs).softmax(dim=1) * logs).sum()
            slope += (logs.gather(1, truth[:, None]).sum() - expected).float()
            up = math.exp(-middle) * float(slope) + middle / SPREAD**2 > 0
            self.low, self.high = (self.low, middle) if up else (middle, self.high)

    part = fitted_temperature(probabilities[:200], labels[:200], device=CPU, ranks=Halves())
    assert part == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("temperature", [0.2, 5.0])
def test_which_class_is_the_likeliest_stays_and_rows_sum_to_one(temperature):
    probabilities, _ = drawn(100, temperature=1.0)
    changed = calibrated(probabilities, temperature)
    assert (changed.argmax(dim=1) == probabilities.argmax(dim=1)).all()
    assert torch.allclose(changed.sum(dim=1), torch.ones(100))
    surer = changed.amax(dim=1) > probabilities.amax(dim=1)
    assert surer.all() if temperature < 1 else not surer.any()
    assert calibrated(probabilities, 1.0) is probabilities
