from pathlib import Path

import pytest

import inat_ray
from inat_ray import auto
from inat_ray.asked import asked_experiment
from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.config.shipped import AUTO
from inat_ray.options import given, time_option
from inat_ray.run.folder import RunFolder
from inat_ray.training.rehearsal import Rehearsal


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Steps that take a fixed time without being trained, and no weights."""
    monkeypatch.setattr(auto, "rehearse", lambda *_, **__: Rehearsal(0.05, 32, None))
    monkeypatch.setattr(auto, "open_dataset", lambda _: None)
    monkeypatch.setattr(auto, "why_missing", lambda _: "no network")
    return [f"data.cache={tmp_path}"]


def test_auto_is_an_ordinary_experiment_that_says_why_and_can_be_saved(quick, tmp_path, capsys):
    new = given(data="demo") | time_option("10m")
    saved = tmp_path / "mine.yaml"
    asked = asked_experiment(Path(AUTO), [*quick, "recipe.lr=0.004"], new, shown=True)
    asked.save(saved)
    said = " ".join(capsys.readouterr().err.split())
    assert "model 10 classes of images of 64 px, 250 in the smallest class" in said
    assert "training cnn_best at 64 px" in said
    assert "method: bayes" in said  # the experiment itself, too
    experiment = load_experiment(saved)
    assert experiment.recipe.lr == 0.004
    assert "recipe.lr" not in experiment.search.parameters
    assert 480 < experiment.search.time < 600


def test_auto_refuses_a_time_that_is_too_short(quick):
    new = given(data="demo") | time_option("30s")
    with pytest.raises(UserError, match="--time 30: auto needs 60 seconds at least"):
        asked_experiment(Path(AUTO), quick, new, shown=False)


def test_a_network_that_is_named_is_taken_with_its_weights(quick, tmp_path):
    weights = tmp_path / "w.pth"
    settings = ["model.kind=resnet", "model.backbone=resnet18", f"model.weights={weights}"]
    settings = [*quick, *settings]
    weights.write_bytes(b"")
    asked = asked_experiment(Path(AUTO), settings, given(data="demo"), shown=False)
    model = load_experiment(asked.source, settings=asked.settings).model
    assert (model.backbone, Path(model.weights)) == ("resnet18", weights)
    assert model.freeze.strategy == "fraction"  # as it was chosen


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["model={kind: cnn}"], "one by one"),
        (["model.kind=module", "model.target=net.py:Net"], "auto knows cnn, pretrained and resnet"),
        (["model.kind=resnet", "model.weights=none"], "begins with weights"),
    ],
)
def test_a_network_that_the_rules_do_not_know_is_refused(quick, settings, reason):
    with pytest.raises(UserError, match=reason):
        asked_experiment(Path(AUTO), [*quick, *settings], given(data="demo"), shown=False)


def test_a_time_that_is_set_is_the_time_and_a_part_of_the_network_names_none(quick):
    settings = [*quick, "search.time=10m", "model.dropout=0.1"]
    asked = asked_experiment(Path(AUTO), settings, given(data="demo"), shown=False)
    experiment = load_experiment(asked.source, settings=asked.settings)
    assert 480 < experiment.search.time < 600
    assert experiment.model.dropout == 0.1
    assert "model.dropout" not in experiment.search.parameters


def test_a_file_that_is_called_auto_goes_before_what_would_be_chosen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(AUTO).write_text("name: mine")
    assert asked_experiment(Path(AUTO), [], {}, shown=False).source == Path(AUTO)


def test_auto_chooses_from_python_too(quick, tmp_path, capsys):
    changes = {"data.cache": str(tmp_path), "recipe.lr": 0.004}
    config = inat_ray.Experiment.auto("demo", "10m", changes).config
    assert "cnn_best at 64 px" in " ".join(capsys.readouterr().err.split())
    assert (config.name, config.recipe.lr, config.data.source) == ("auto", 0.004, "demo")
    assert 480 < config.search.time < 600
    with pytest.raises(UserError, match="--time 30: auto needs 60 seconds"):
        inat_ray.Experiment.auto("demo", 30, changes)


def test_the_time_of_any_sweep_covers_all_of_it(tmp_path):
    asked = asked_experiment(Path("cnn_bayes"), [], time_option("2h"), shown=False)
    search = load_experiment(asked.source, options=asked.given).search
    assert (search.time, search.time_covers) == (7200, "run")


@pytest.mark.slow
def test_auto_ends_in_a_model_and_its_run_holds_what_was_chosen(command, data_folder, tmp_path):
    data = ["--data", data_folder, "--set", f"data.cache={tmp_path / 'cache'}"]
    small = ["--set", "model.kind=cnn", "--set", "model.filters=[4, 4, 8, 8, 8]", "--trials", 2]
    done = command("sweep", "auto", *data, *small, "--time", "1m", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "model.kind is cnn" not in done.stderr  # the pictures are small anyway
    assert "such small ones are learned from scratch" in " ".join(done.stderr.split())
    run = RunFolder(tmp_path / "run")
    assert load_experiment(run.experiment).search.time_covers == "run"
    assert run.report.exists(), done.stderr
