import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

import inat_ray
from tests.run.made_up_runs import create_run


@pytest.fixture(scope="module")
def settings(small_settings, data_folder):
    """Those of a small experiment on photographs, as a person would write them in Python."""
    lines = [*small_settings, f"data.source={data_folder}", "device=cpu"]
    return {key: yaml.safe_load(value) for key, value in (line.split("=", 1) for line in lines)}


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory) -> inat_ray.Run:
    out = tmp_path_factory.mktemp("api") / "run"
    return inat_ray.Experiment.open("cnn_best", settings).train(out=out, seed=3)


def test_every_name_that_the_package_offers_is_there():
    assert all(getattr(inat_ray, name) is not None for name in inat_ray.__all__)
    assert set(inat_ray.__all__) <= set(dir(inat_ray))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        inat_ray.nothing  # noqa: B018


def test_the_package_itself_imports_nothing_heavy():
    program = "import inat_ray, sys; print({'torch', 'ray', 'numpy', 'typer'} & set(sys.modules))"
    line = [sys.executable, "-c", program]
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout == "set()\n"


def test_an_experiment_has_the_settings_that_were_given():
    experiment = inat_ray.Experiment.open("cnn_bayes", {"recipe.lr": 0.01})
    assert (experiment.config.name, experiment.config.recipe.lr) == ("cnn_bayes", 0.01)


@pytest.mark.parametrize(
    ("source", "settings", "reason"),
    [
        ("nowhere", {}, "none of that name"),
        ("no/where.yaml", {}, "no such experiment file"),
        ("quickstart", {"recipe.lr": -1}, r"settings: recipe.lr: -1"),
        ("quickstart", {"recipe.lrr": 1}, "did you mean 'lr'"),
    ],
)
def test_a_mistake_is_an_exception_as_soon_as_the_experiment_is_opened(source, settings, reason):
    with pytest.raises(inat_ray.UserError, match=reason):
        inat_ray.Experiment.open(source, settings)


def test_a_training_gives_its_run_with_tables_and_result(trained):
    assert trained.path.name == "run"
    [trial] = trained.trials().to_dict("records")
    assert (trial["seed"], trial["state"], trial["epochs"]) == (3, "finished", 2)
    assert trained.result["val_accuracy"] == trial["best_val_accuracy"]
    assert list(trained.epochs()["epoch"]) == [1, 2]
    assert inat_ray.Run(str(trained.path)) == trained


def test_a_run_writes_its_report_where_it_is_asked_to(trained, tmp_path):
    assert trained.report() == trained.path / "report.html"
    page = trained.report(tmp_path / "page.html")
    assert "cnn_best" in page.read_text()


@pytest.mark.parametrize(("name", "is_training"), [("cnn_best", True), ("quickstart", False)])
def test_a_run_that_was_cut_off_before_its_first_record_is_known_by_its_experiment(
    tmp_path, name, is_training
):
    config = inat_ray.Experiment.open(name).config
    folder = create_run(tmp_path / "run", config, overwrite=False)
    folder.log.mkdir(exist_ok=True)
    folder.events.touch()
    assert inat_ray.Run(folder.path)._is_training is is_training


def test_a_run_that_is_over_is_not_resumed(trained):
    with pytest.raises(inat_ray.UserError, match="has ended"):
        trained.resume()


def test_a_run_that_is_there_is_not_written_over(trained, settings):
    with pytest.raises(inat_ray.UserError, match="holds a run already"):
        inat_ray.Experiment.open("cnn_best", settings).train(out=trained.path)


def test_a_folder_without_a_run_is_none(tmp_path):
    with pytest.raises(inat_ray.UserError, match="holds no run"):
        inat_ray.Run(tmp_path)


def test_a_training_works_in_a_thread_too(settings, tmp_path):
    runs = []

    def train() -> None:
        experiment = inat_ray.Experiment.open("cnn_best", {**settings, "recipe.epochs": 1})
        runs.append(experiment.train(out=tmp_path / "run"))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert runs[0].best.exists()


def test_data_frames_without_pandas_are_refused_with_what_to_install(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(inat_ray.UserError, match="pip install pandas"):
        trained.trials()


SCRIPT = """
import inat_ray
print("begins")
small = {"model.filters": [4, 4, 8, 8, 8], "model.dense": 8, "recipe.epochs": 1,
         "search.trials": 2,
         "data.cache": "packs", "device": "cpu"}
experiment = inat_ray.Experiment.open("quickstart", small)
print(experiment.dry_run().trials)
run = experiment.sweep(out="run")
print(len(run.trials()), run.result["test_accuracy"] is not None, run.best.name)
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_rehearses_and_sweeps(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "begins"
    assert done.stdout.count("begins") == 1
    assert done.stdout.splitlines()[-1].endswith("True best.safetensors")
