"""What runs on a GPU, how fast, and where the time goes: one table, as text and as JSON.

    python -m tests.gpu_check --data ~/photos --out runs/gpu_check
    python -m tests.gpu_check --device cpu --short      a dry run, without a GPU and in a minute

`make gpu-check DATA=...` does it. Each part is a process of its own that may take two minutes:
whatever happens in one, the next runs, and what it found is kept at once. The loops that are
measured are those of tests/benchmarks.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.augment import Normalize
from inat_ray.data.batches import Batch
from inat_ray.data.dataset import open_dataset
from inat_ray.training.device import resolve_device, tune_process
from inat_ray.training.fit import Fit
from inat_ray.training.inputs import training_batches
from inat_ray.training.machine import machine
from inat_ray.training.ranks import ALONE
from inat_ray.training.sums import Sums
from tests.benchmarks.comparison import TINY, alternate
from tests.benchmarks.driver import draw_pictures
from tests.benchmarks.epoch import bound_epoch, fit_epoch

STUDY = Path("experiments/cnn_best.yaml")

Found = dict[str, Any]
"""What a part found: a name and a number, or a text."""

SECONDS_OF_A_PART = 120

ROUGH = ("recipe.augmentation.erase=0.5", "recipe.augmentation.contrast=0.2")
"""Augmentation that draws more than crops and mirror images."""

TESTS = (
    *("test_fit", "test_loop", "test_features", "test_graph", "test_average", "test_checkpoint"),
    *("test_predictions", "test_snapshot"),
)


class Check:
    """What all parts are told: the photographs, the device, and whether the turn is a small one."""

    def __init__(self, data: str, *, device: str, short: bool) -> None:
        self.data, self.device, self.short = data, device, short

    def experiment(self, *settings: str) -> Experiment:
        size = TINY if self.short else ["data.image_size=128"]
        return load_experiment(
            STUDY,
            settings=[*size, f"device={self.device}", *settings],
            options={"data.source": ("--data", self.data)},
        )


def imports(check: Check) -> Found:
    """Versions, and whether Ray sees the GPUs that PyTorch sees."""
    from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager as Manager

    for module in (
        "inat_ray.tuning.search",
        "inat_ray.training.worker_group",
        "inat_ray.page.report",
    ):
        import_module(module)
    found: Found = {
        name: version(name) for name in ("torch", "torchvision", "ray", "numpy", "pyarrow")
    }
    found["GPUs for PyTorch"] = torch.cuda.device_count()
    found["GPUs for Ray"] = Manager.get_current_node_num_accelerators()
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found |= {"GPU memory, MiB": total >> 20, "of it free, MiB": free >> 20}
    return found


def pixels(check: Check) -> Found:
    """How far apart the same views are on the CPU and on the device, in standard deviations."""
    found: Found = {}
    for name, settings in {"crop and mirror": (), "erasing and contrast": ROUGH}.items():
        experiment = check.experiment(*settings)
        data = open_dataset(experiment.data)
        views = []
        for device in (torch.device("cpu"), resolve_device(check.device)):
            tune_process(device)
            normalize = Normalize(data.mean, data.std, device)
            batches = training_batches(
                experiment, data, normalize=normalize, device=device, ranks=ALONE
            )
            views.append(next(batches.epoch(0)).images.float().cpu())
        apart = (views[0] - views[1]).abs()
        found[f"{name}: largest difference"] = float(apart.max())
        found[f"{name}: share above 0.01"] = float((apart > 0.01).float().mean())
    return found


def tests(check: Check) -> Found:
    """The suite's tests of training, with the GPU in the place of the CPU."""
    with tempfile.TemporaryDirectory(prefix="inat_ray-tests-") as folder:
        line = ["cp", "-r", "tests", "pyproject.toml", "inat_ray", "experiments", folder]
        subprocess.run(line, check=True)
        for file in Path(folder, "tests/training").glob("*.py"):
            text = file.read_text(encoding="utf-8")
            text = text.replace("device=cpu", f"device={check.device}")
            file.write_text(text.replace('torch.device("cpu")', f'torch.device("{check.device}")'))
        names = ("test_average",) if check.short else TESTS
        files = [f"tests/training/{name}.py" for name in names] + ["tests/optimizers/test_muon.py"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-o", "filterwarnings=default", "-rf", *files],
            cwd=folder, env=os.environ | {"PYTHONPATH": folder},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = done.stdout.splitlines()
    return {"result": lines[-1] if lines else done.stderr[-300:]} | {
        line.removeprefix("FAILED "): "failed" for line in lines if line.startswith("FAILED ")
    }


def train(check: Check) -> Found:
    """`train` as a user runs it: seconds to the first epoch, and images/s of the later ones."""
    settings = [*_settings(check), "--set", "recipe.epochs=3"]
    with tempfile.TemporaryDirectory(prefix="inat_ray-train-") as folder:
        _command("train", str(STUDY), *settings, "--out", f"{folder}/run", data=check.data)
        log = Path(folder, "run", "log", "events.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in log]
    epochs = [record for record in records if record["kind"] == "epoch_ended"]
    return {
        "s to the first epoch's end": epochs[0]["time"] - records[0]["time"],
        "images/s, later epochs": statistics.median(e["images_per_second"] for e in epochs[1:]),
        "val accuracy": epochs[-1]["val_accuracy"],
    }


def epoch(check: Check) -> Found:
    """Images/s of `Fit` and of its bound in turn, by batch size."""
    found: Found = {}
    for size in (8,) if check.short else (32, 256):
        experiment = check.experiment(f"recipe.batch_size={size}")
        ways = {"Fit": fit_epoch(experiment), "bound": bound_epoch(experiment)}
        speeds = alternate(ways, rounds=1 if check.short else 5)
        for name, values in speeds.items():
            found[f"batch {size}: {name}, images/s"] = statistics.median(values)
        pairs = zip(speeds["Fit"], speeds["bound"], strict=True)
        found[f"batch {size}: over its bound"] = statistics.median(a / b for a, b in pairs)
    return found


def freeze(check: Check) -> Found:
    """The benchmark's steps of a ResNet50 by what is frozen."""
    with tempfile.TemporaryDirectory(prefix="inat_ray-freeze-") as folder:
        file = Path(folder, "freeze.json")
        options = ["--short"] if check.short else ["--rounds", "1", "--set", "data.image_size=224"]
        line = [
            "--data",
            check.data,
            "--out",
            str(file),
            "--set",
            f"device={check.device}",
            *options,
        ]
        subprocess.run([sys.executable, "-m", "tests.benchmarks.freeze", *line], check=True)
        part = json.loads(file.read_text())
    figures = part["figures"] | part["ratios"]
    return {
        f"{name}, {figure['unit']}": statistics.median(figure["values"])
        for name, figure in figures.items()
    }


def sharing(check: Check) -> Found:
    """Four trials that share the device, against the same four one after another."""
    from tests.benchmarks.sweep import our_sweep

    size = TINY if check.short else ["data.image_size=128", "recipe.epochs=4"]
    has_gpu = check.device == "cuda"
    ways = {
        "at once": [f"resources.gpus_per_worker={0.25 if has_gpu else 0}"],
        "one after another": [
            f"resources.gpus_per_worker={int(has_gpu)}",
            "resources.max_concurrent=1",
        ],
    }
    trials = 2 if check.short else 4
    found = {
        f"trials an hour, {name}": 3600
        / our_sweep(check.data, trials=trials, settings=[*size, *way]).each
        for name, way in ways.items()
    }
    first, second = found.values()
    return found | {"gain": first / second}


def trainer(check: Check) -> Found:
    """A group of one worker on Ray Train: NCCL, DistributedDataParallel and all around an epoch."""
    import ray

    from inat_ray.config.resources import Resources
    from inat_ray.storage.place import Place
    from inat_ray.training.loop import Job
    from inat_ray.training.worker_group import WorkerGroup
    from tests.benchmarks.workers import Runner

    experiment = check.experiment("recipe.epochs=4")
    dataset = open_dataset(experiment.data)
    ray.init(include_dashboard=False, log_to_driver=False)
    gpus = int(check.device == "cuda")
    resources = Resources(workers_per_trial=1, gpus_per_worker=gpus, max_failures=0)
    with tempfile.TemporaryDirectory(prefix="inat_ray-group-") as folder:
        place = Place.at(folder)
        with WorkerGroup(resources, storage=place) as group:
            runner = Runner(group, Job(experiment, dataset, checkpoints=place / "1"))
            speeds = [runner.epoch(number) for number in range(2 if check.short else 4)]
    ray.shutdown()
    first, *steady = runner.around
    return {
        "s until the first epoch begins": first,
        "ms around an epoch": 1000 * statistics.median(steady),
        "images/s, later epochs": statistics.median(speeds[1:]),
    }


def profile(check: Check) -> Found:
    """A step by itself: kernels, copies, and each wait of the host by file and line."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    steps = 2 if check.short else 20
    fit, sums = _ready(check.experiment())
    batches = _forever(fit)
    for batch in islice(batches, 3):
        fit.step(batch, sums)
    _wait()
    begin = time.perf_counter()
    for batch in islice(batches, steps):
        fit.step(batch, sums)
    _wait()
    seconds = time.perf_counter() - begin
    activities = [ProfilerActivity.CPU]
    if check.device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profiled(activities=activities) as seen:
        for batch in islice(batches, steps):
            fit.step(batch, sums)
        _wait()
    on_gpu = [e for e in seen.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    copies = [e for e in on_gpu if e.name.startswith(("Memcpy", "Memset"))]
    busy = sum(e.time_range.elapsed_us() for e in on_gpu) / 1e6
    sys.stderr.write(seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))
    return {
        "ms a step, kernel by kernel": 1000 * seconds / steps,
        "kernels a step": (len(on_gpu) - len(copies)) / steps,
        "copies and fills a step": len(copies) / steps,
        "share of the time in which the GPU is busy": busy / seconds,
        **_waits(check),
    }


def _waits(check: Check) -> Found:
    """Where the host waits for the GPU in five steps: file:line, and how often."""
    if check.device != "cuda":
        return {}
    fit, sums = _ready(check.experiment(*ROUGH, "recipe.augmentation.mixup=0.2"))
    batches = _forever(fit)
    for batch in islice(batches, 3):
        fit.step(batch, sums)
    _wait()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        for batch in islice(batches, 5):
            fit.step(batch, sums)
        torch.cuda.set_sync_debug_mode("default")
    found = Counter(f"host waits in 5 steps: {Path(w.filename).name}:{w.lineno}" for w in caught)
    return dict(found) or {"host waits in 5 steps": 0}


def _ready(experiment: Experiment) -> tuple[Fit, Sums]:
    fit = Fit(experiment, open_dataset(experiment.data))
    fit.prepare(0)
    return fit, Sums(len(fit.data.classes), fit.device)


def _forever(fit: Fit) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from fit.inputs.batches.epoch(epoch)
        epoch += 1


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _settings(check: Check) -> list[str]:
    size = TINY if check.short else ["data.image_size=128"]
    return [part for line in (*size, f"device={check.device}") for part in ("--set", line)]


def _command(name: str, *arguments: str, data: str) -> None:
    line = [sys.executable, "-m", f"inat_ray.{name}", *arguments, "--data", data]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


PARTS: dict[str, Callable[[Check], Found]] = {
    part.__name__: part
    for part in (imports, pixels, tests, train, epoch, freeze, sharing, trainer, profile)
}


def main(
    data: Annotated[Path | None, typer.Option(help="Photographs; drawn ones if short.")] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER")] = Path("runs/gpu_check"),
    device: Annotated[str, typer.Option(help="cuda, or cpu for a dry run.")] = "cuda",
    short: Annotated[bool, typer.Option("--short", help="A small turn of each part.")] = False,
    part: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    here: Annotated[bool, typer.Option("--here", hidden=True)] = False,
) -> None:
    names = part or list(PARTS)
    if here:  # a process of one part
        found = PARTS[names[0]](Check(str(data), device=device, short=short))
        out.write_text(json.dumps(found))
        return
    if device == "cuda" and not torch.cuda.is_available():
        raise typer.BadParameter("PyTorch sees no GPU here; --device cpu --short is a dry run")
    if data is None and not short:
        raise typer.BadParameter("--data: is needed")
    with ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inat_ray-drawn-")))
            for seed, role in enumerate(("train", "val")):
                draw_pictures(data / role, seed=seed)
        options = ["--data", str(data), "--device", device, *(["--short"] if short else [])]
        tree = _check_all(names, options, out=out)
    if any("error" in about for about in tree["parts"].values()):
        raise typer.Exit(1)


def _check_all(names: list[str], options: list[str], *, out: Path) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    console, tree = Console(stderr=True), {"machine": machine(), "parts": {}}
    for name in names:
        console.rule(name)
        begin, file = time.perf_counter(), out / f"{name}.json"
        file.unlink(missing_ok=True)
        line = [sys.executable, "-m", "tests.gpu_check", "--here", "--part", name, *options]
        about: Found = {}
        try:
            line += ["--out", str(file)]
            subprocess.run(line, check=True, timeout=SECONDS_OF_A_PART)
            about = json.loads(file.read_text())
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            about = {"error": f"{type(error).__name__} after {time.perf_counter() - begin:.0f} s"}
        tree["parts"][name] = {**about, "seconds": time.perf_counter() - begin}
        (out / "gpu_check.json").write_text(json.dumps(tree, indent=1) + "\n")
    table = _table(tree)
    with (out / "gpu_check.txt").open("w", encoding="utf-8") as file:
        Console(file=file, width=120).print(table)
    Console().print(table)
    return tree


def _table(tree: dict[str, Any]) -> Table:
    about = tree["machine"]
    title = (
        f"{', '.join(about.get('gpus', ['no GPU']))}; {about['processor']}, {about['cores']} cores"
    )
    table = Table("part", "what", "found", title=title)
    for name, found in tree["parts"].items():
        for number, (what, value) in enumerate(found.items()):
            text = f"{value:,.4g}" if isinstance(value, float) else str(value)
            table.add_row("" if number else name, what, text)
        table.add_section()
    return table


if __name__ == "__main__":
    typer.run(main)
