"""What a command says at its end."""

import io
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from inat_ray.config.experiment import DataConfig, Experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.log.records import TrialKnown
from inat_ray.run.warm_start import WarmStart
from inat_ray.terminal.announcements import (
    announce,
    announce_warm_start,
    interruption_announced,
    show_next_steps,
)
from tests.run.made_up_runs import create_run, run_started, write_log


def test_the_data_is_told_by_class_part_and_what_was_passed_over(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("train/ash", 5), ("train/oak ", 9), ("val/ash", 1), ("val/oak ", 1)):
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "d" / name / f"{number}.png")
    (tmp_path / "d" / "val" / "ash" / "x.psd").write_text("")
    config = DataConfig(source=str(tmp_path / "d"), cache=str(tmp_path / "c"), image_size=32)
    path = open_dataset(config).pack.path
    console = Console(file=io.StringIO(), width=300)
    announce(console, data=open_dataset(config))
    assert [line.strip() for line in console.file.getvalue().splitlines()[1:]] == [
        "classes: ash, 'oak '",
        "images a class: 6 (ash) to 10 ('oak ')",
        "folders: train train, test val",
        "ignored: 1 .psd",
    ]
    path.write_bytes(b"damaged")
    announce(console, data=open_dataset(config))
    assert "is damaged, or the pack of other images" in console.file.getvalue()
    assert "it was built again" in console.file.getvalue()


@pytest.mark.parametrize("content", [None, b"damaged\n"])
def test_an_interruption_stays_one_where_there_is_no_log_to_tell_of(tmp_path, content):
    run = create_run(tmp_path / "run", Experiment(), overwrite=False)
    if content is not None:
        run.events.parent.mkdir(parents=True, exist_ok=True)
        run.events.write_bytes(content)
    console = Console(file=io.StringIO(), width=300)
    with pytest.raises(KeyboardInterrupt), interruption_announced(console, run=run):
        raise KeyboardInterrupt
    assert console.file.getvalue() == ""


def test_an_interruption_says_what_is_kept_and_how_to_go_on(tmp_path):
    run = create_run(tmp_path / "my run", Experiment(), overwrite=False)
    write_log(run, [run_started()])
    console = Console(file=io.StringIO(), width=300)
    with pytest.raises(KeyboardInterrupt), interruption_announced(console, run=run):
        raise KeyboardInterrupt
    assert "interrupted: 0 epochs of 0 trials" in console.file.getvalue()
    assert f"sweep --resume '{run.path}'" in console.file.getvalue()


def test_the_next_steps_can_be_pasted_as_they_are(tmp_path):
    run = create_run(tmp_path / "my run", Experiment(), overwrite=False)
    console = Console(file=io.StringIO(), width=30)
    show_next_steps(console, run=run)
    board, evaluate, report = map(shlex.split, console.file.getvalue().splitlines())
    assert board == ["TensorBoard:", "tensorboard", "--logdir", str(run.tensorboard)]
    assert evaluate == ["Evaluate:", "inat-ray", "evaluate", str(run.path)]
    assert report == ["Report:", "inat-ray", "report", str(run.path)]
    run.report.touch()  # as a search leaves it, which has named it before
    show_next_steps(console, run=run)
    assert console.file.getvalue().count("Report:") == 1


def test_each_source_of_a_warm_start_has_a_line_with_what_it_tells_and_why_not_more():
    console = Console(file=io.StringIO(), width=100)
    trial = TrialKnown(source="runs/first 0", parameters={}, values=[0.5], state="finished")
    first = WarmStart(Path("runs/first"), (trial,), 3, ("2 left out: their model.kind is module",))
    second = WarmStart(Path("runs/second"), notes=("holds no search",))
    announce_warm_start(console, [first, second])
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "runs/first 1/3 2 left out: their model.kind is module" in lines
    assert "runs/second - holds no search" in lines


def test_a_warm_start_without_a_run_beside_says_so():
    console = Console(file=io.StringIO(), width=100)
    announce_warm_start(console, [])
    assert "there is no run beside this one" in console.file.getvalue()
