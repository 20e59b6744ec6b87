"""The first screen of the report: what came out, and whether to believe it."""

import re

import pytest

from inat_ray.log.history import History
from inat_ray.log.records import EpochEnded, LookAtTest, PointBeyond, TrialPicked
from inat_ray.page.lead import lead_section
from inat_ray.page.reported_run import ReportedRun
from inat_ray.run.folder import RunFolder
from tests.made_up_sweep import of_now, renamed

LOOK = LookAtTest(model="m", accuracy=0.875, loss=0.4, images=80, predictions="log/p.parquet")


@pytest.fixture
def run(sweep, history_of, tmp_path) -> ReportedRun:
    return ReportedRun(RunFolder(tmp_path), history_of([*sweep, LOOK]))


def confirm(run: ReportedRun, records, accuracies: dict[int, float]) -> None:
    """Adds trainings of the same configuration with other seeds."""
    for seed, accuracy in accuracies.items():
        for record in renamed(records, f"again_{seed}", purpose="confirm", seed=seed):
            is_epoch = isinstance(record, EpochEnded)
            run.history.add(
                record.model_copy(update={"val_accuracy": accuracy} if is_epoch else {})
            )


def tiles(run: ReportedRun) -> list[list[str]]:
    """The texts of each tile."""
    body = str(lead_section(run).body)
    found = re.findall(r'<div class="tile">(.*?)</dd></div>', body, re.S)
    return [
        [t.strip() for t in re.sub(r"<[^>]*>", "|", tile).split("|") if t.strip()] for tile in found
    ]


def test_best_trial_configuration_over_seeds_and_test_stand_side_by_side(run, sweep):
    confirm(run, sweep[1:6], {7: 0.5, 8: 0.7})
    best, kept, test = tiles(run)
    assert best[:3] == ["Best trial, trial_0000", "90.0", "%"]
    assert kept[:3] == ["Best configuration", "60.0", "± 14.1 %"]
    assert "configuration of trial_0000: mean ± sd over 2 new seeds" in kept[-1]
    assert test[:3] == ["Test", "87.5", "%"]
    assert "80 images, 95\xa0% interval 78.5 to 93.1\xa0%" in test[-1]


def test_a_best_score_of_one_epoch_says_so(sweep, history_of, tmp_path):
    short = history_of([*of_now(sweep)[:1], *sweep[6:8]])
    (best, *_) = tiles(ReportedRun(RunFolder(tmp_path), short))
    assert "val acc of one epoch, as no trial has 3 in a row" in best[-1]


def test_results_of_one_kind_are_drawn_on_one_scale(run, sweep):
    confirm(run, sweep[1:6], {7: 0.8, 8: 0.8})
    body = str(lead_section(run).body)
    assert re.findall(r"<span>(\d+%)</span><span>(\d+%)</span>", body) == [("75%", "95%")] * 3
    assert re.findall(r'range" style="left: ([\d.]+)%; width: ([\d.]+)%', body)[-1] == (
        "17.5",
        "72.8",
    )


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ([0.87, 0.88], "The test agrees"),
        ([0.95, 0.95], "lower than validation promised"),
        ([0.88, 1.0], "The test agrees"),  # such seeds may differ by as much
        ([0.5, 0.5], "may be easier"),
    ],
)
def test_the_test_is_compared_with_the_confirmation_by_the_errors_of_both(
    run, sweep, accuracies, said
):
    confirm(run, sweep[1:6], dict(enumerate(accuracies, start=7)))
    body = str(lead_section(run).body)
    assert said in body
    assert "(2 standard errors)" in body


def test_few_validation_images_promise_little(run, sweep):
    confirm(run, sweep[1:6], {7: 0.95, 8: 0.95})
    run.result = {"data": {"images": {"validation": 20}}}
    assert "The test agrees" in str(lead_section(run).body)


def test_of_a_single_seed_it_is_not_said_that_the_test_agrees(run, sweep):
    confirm(run, sweep[1:6], {7: 0.87})
    assert "agrees" not in str(lead_section(run).body)


def test_single_seeds_are_drawn_and_the_test_has_a_bar(run, sweep):
    confirm(run, sweep[1:6], {7: 0.86, 8: 0.88})
    best, kept, test = str(lead_section(run).body).split('<div class="tile">')[1:]
    marks = [re.findall(r'<i class="(seed|range|point hollow)', tile) for tile in (best, kept)]
    assert marks == [["point hollow"], ["seed", "seed"]]
    assert test.count('<i class="range" style') == 1


def test_how_much_being_chosen_flattered_is_told(run, sweep):
    confirm(run, sweep[1:6], {7: 0.8, 8: 0.8})
    assert "the winner gives 10.0 points less than the best trial did" in lead_section(run).body


def test_a_run_without_confirmation_model_or_test_says_so(sweep, history_of, tmp_path):
    run = ReportedRun(RunFolder(tmp_path), history_of(sweep))
    best, kept, test = tiles(run)
    assert best[1] == "90.0"
    assert kept[1] == "none yet"
    assert test[1] == "not looked at"


def test_a_winner_that_still_trains_has_no_kept_model_yet(run, sweep):
    for record in renamed(sweep[1:4], "winner", purpose="final"):
        run.history.add(record)
    kept = tiles(run)[1]
    assert kept[1] == "none yet"
    assert kept[-1].endswith("own training: running after 2 of 3 epochs")


MORE_IMAGES = {
    "search": {"images": {"train": 80, "validation": 20}},
    "data": {"images": {"train": 95, "validation": 5}},
}


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_winner_with_more_images_is_told_with_those_that_still_validated(run, sweep, confirmed):
    if confirmed:
        confirm(run, sweep[1:6], {7: 0.5, 8: 0.7})
    seed = {"seed": 7} if confirmed else {}
    started, *others = renamed(sweep[1:6], "winner", purpose="final", **seed)
    for record in [started.model_copy(update={"keeps_last": True}), *others]:
        run.history.add(record)
    run.result |= MORE_IMAGES
    assert "its last epoch, on the 5 images that still validated" in tiles(run)[1][-1]


def test_a_kept_model_by_its_best_epoch_is_optimistic(run, sweep):
    for record in renamed(sweep[1:6], "winner", purpose="final"):
        run.history.add(record)
    assert tiles(run)[1][-1].startswith("its best epoch, so optimistic; not confirmed")


def test_what_a_person_picked_is_not_the_winners_confirmation(run, sweep):
    confirm(run, sweep[1:6], {7: 0.5, 8: 0.7})
    run.history.add(TrialPicked(trial_id="trial_0004"))
    assert tiles(run)[1][1] == "none yet"
    assert "The test agrees" not in lead_section(run).body


def test_a_study_over_seeds_has_the_mean_of_its_best_configuration(study, history_of, tmp_path):
    history = history_of(study({"none": [0.8, 0.9], "head_only": [0.5, 0.95]}))
    _, kept, _ = tiles(ReportedRun(RunFolder(tmp_path), history))
    assert kept[1:3] == ["85.0", "± 7.1 %"]
    assert "mean ± sd over 2 seeds" in kept[-1]


def test_a_training_has_no_best_trial_and_no_winner(training, history_of, tmp_path):
    run = ReportedRun(RunFolder(tmp_path), history_of([*training, LOOK]))
    assert [tile[0] for tile in tiles(run)] == ["Validation", "Test"]


def test_the_best_configuration_can_be_copied_as_yaml(run):
    body = str(lead_section(run).body)
    (yaml,) = re.findall(r'<pre id="best-yaml" hidden>(.*?)</pre>', body, re.S)
    assert yaml == "recipe: {lr: 0.003}\nmodel:\n  batch_norm: true\n  filters: [32, 64]\n"


def test_the_costs_are_those_of_the_log(run):
    run.history.add(PointBeyond(parameters={}, model_parameters=1, macs=1))
    body = lead_section(run).body
    for text in ("6 of 8 trials", "8 epochs of 24 planned", "2 saved", "1 point beyond the limits"):
        assert text in body


def test_what_is_missing_is_said_at_the_top(run):
    run.missing.append("There is no <model>.")
    assert "There is no &lt;model&gt;." in lead_section(run).body


def test_a_run_without_records_has_a_lead_too(tmp_path):
    assert "0:00" in lead_section(ReportedRun(RunFolder(tmp_path), History())).body
