"""The README and docs/: every command, experiment, snippet and link in them is true."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import typer
import yaml
from PIL import Image

from inat_ray import options
from inat_ray.__main__ import COMMANDS
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.space import search_space
from tests.markdown import CLUSTERS, PAGES, ROOT, anchors, blocks, commands, lines, links

SHELL = ("bash", "console", "sh")
EXPERIMENTS = {path.stem for path in (ROOT / "experiments").glob("*.yaml")} | {"auto"}
EXPERIMENT_KEYS = set(Experiment.model_fields) | {"extends"}

SHELL_BLOCKS = [block for page in [*PAGES, CLUSTERS] for block in blocks(page, *SHELL, "")]
YAML_BLOCKS = [block for page in PAGES for block in blocks(page, "yaml")]
CALLS = [
    pytest.param(call, id=f"{block.page}:{block.line} {' '.join(call)[:50]}")
    for block in SHELL_BLOCKS
    for line in lines(block.text)
    for call in commands(line)
]


@pytest.fixture(scope="module")
def app() -> click.Group:
    """All commands as one."""
    group = click.Group()
    for name in COMMANDS:
        module = importlib.import_module(f"inat_ray.{name}")
        one = options.app_of(module.main, also=getattr(module, "ALSO", {}))
        group.add_command(typer.main.get_command(one), name)
    return group


def test_the_readme_is_one_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.encode()) <= 9 * 1024


def test_the_checks_below_find_something_to_check():
    assert len(CALLS) > 50
    assert len(YAML_BLOCKS) >= 5


@pytest.mark.parametrize("call", CALLS)
def test_a_command_line_is_one_that_the_command_takes(app: click.Group, call: list[str]):
    name, *words = call
    words = [word.strip("[]").rstrip(".") for word in words]
    if name.startswith("-") or name == "EXPERIMENT":
        return
    command = app.commands[name]
    if isinstance(command, click.Group):
        first = words[0] if words and words[0] in command.commands else "list"
        words = words[1:] if words and words[0] == first else words
        command = command.commands[first]
    context = command.make_context(name, list(words), resilient_parsing=False)
    experiment = context.params.get("experiment")
    if experiment is not None and str(experiment) not in ("EXPERIMENT", "mine.yaml", "sweep.yaml"):
        path = Path(str(experiment))
        assert path.stem in EXPERIMENTS
        assert path.suffix == "" or (ROOT / path).exists()
    is_of_a_run = context.params.get("resume") is not None  # whose parameters they are about
    for setting in () if is_of_a_run else context.params.get("settings") or ():
        load_experiment(None, settings=[setting])


def test_every_target_of_make_exists():
    targets = {
        line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line
    }
    named = {
        word
        for block in SHELL_BLOCKS
        for line in lines(block.text)
        if line.startswith("make ")
        for word in [line.split()[1]]
    }
    assert named <= targets


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=lambda b: f"{b.page}:{b.line}")
def test_an_experiment_loads_and_its_space_is_one(block, tmp_path: Path):
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    path = tmp_path / "experiments" / "shown.yaml"
    path.write_text(block.text)
    assert set(yaml.safe_load(block.text) or ()) <= EXPERIMENT_KEYS
    experiment = load_experiment(path, settings=[])
    search_space(experiment)


@pytest.mark.parametrize("page", [*PAGES, CLUSTERS], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_architecture_names_files_that_there_are():
    text = (ROOT / "docs" / "architecture.md").read_text()
    for name in re.findall(r"`(\w+/\w+\.py)`", text):
        assert (ROOT / "inat_ray" / name).exists(), name


def test_every_page_is_linked_from_the_readme():
    linked = {path for path, _ in links(ROOT / "README.md")}
    assert {page.relative_to(ROOT).as_posix() for page in PAGES[1:]} <= linked


# --- What is run ---------------------------------------------------------------------------------

SMALL = [
    *("data.image_size=32", "recipe.epochs=1", "recipe.batch_size=8", "resources.max_concurrent=2"),
    "model.feature_views=1",
]
NOT_HERE = {
    "s3://": "a bucket of one's own",
    "inaturalist-12k": "a download",
    "--watch": "goes on until the run is over",
    "--track": "a key or a server",
    "--tensorboard": "a port",
    "--workers 8": "eight cores",
    "resources.": "several GPUs",
    "--resume": "a run that was cut off",
    "pip install": "a network",
    "mine.yaml": "a file that the reader writes",
    "resnet50_freeze": "18 trainings of a ResNet50",
}
"""Lines that hold this are not run, since they need it."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, data_folder) -> Path:
    """What a reader has: a home with photographs, a folder of one's own, and a new photograph."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(data_folder / "train", home / "photos")
    (home / "photos" / "ash").rename(home / "photos" / "rose")
    here = home / "here"
    here.mkdir()
    shutil.copytree(ROOT / "experiments", here / "experiments")
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(here / "new.jpg")
    return here


def run(call: list[str], here: Path) -> None:
    """A documented command, made small by settings."""
    name, *words = call
    words = [word.replace("~", str(here.parent)) for word in words]
    trains = name in ("sweep", "train") and not {"--extend", "--status"} & set(words)
    if trains:
        words += [word for line in _small(words) for word in ("--set", line)]
        words += [] if name == "train" or "--trials" in words else ["--trials", "2"]
    done = python_in(here, "-m", "inat_ray", name, *words)
    assert done.returncode == 0, f"{call}: {done.stderr[-2000:]}"


def _small(words: list[str]) -> list[str]:
    resnet = any(word.startswith("resnet") for word in words)
    network = ["model.backbone=resnet18", "model.weights=none"]
    network += ["model.freeze.k=10"] if "resnet50_best" in words else []
    own = network if resnet else ["model.filters=[4, 4, 8, 8, 8]", "model.dense=8"]
    return [*(line for line in SMALL if resnet or "feature_views" not in line), *own]


def python_in(here: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *words],
        cwd=here,
        env=os.environ | {"HOME": str(here.parent), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_and_the_pages_about_its_run_work_from_top_to_bottom(workplace: Path):
    for name in ("tutorial", "results", "export"):
        page = ROOT / "docs" / f"{name}.md"
        for block in blocks(page, *SHELL):
            for line in lines(block.text):
                if any(reason in line for reason in NOT_HERE) or "runs/bayes" in line:
                    continue
                for call in commands(line):
                    run(call, workplace)
        text = "\n".join(block.text for block in blocks(page, "python"))
        done = python_in(workplace, "-c", text) if text else None
        assert done is None or done.returncode == 0, f"{name}: {done.stderr[-2000:]}"
