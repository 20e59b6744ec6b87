"""The experiment `auto`: looks at the images and the machine, and chooses what suits them."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml

from inat_ray.config import auto
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.model import PretrainedConfig
from inat_ray.data.dataset import open_dataset
from inat_ray.data.look import look_at
from inat_ray.models.weights import why_missing
from inat_ray.training.device import resolve_device
from inat_ray.training.machine import memory_bytes, usable_cores
from inat_ray.training.rehearsal import rehearse

USUAL_TIME, LEAST_TIME, LEAST_START = 3600.0, 60.0, 25.0

CANDIDATES = (
    ("timm", ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")),
    ("torchvision", ("efficientnet_b0",)),
)
"""Pre-trained networks by source, the fastest first. The first source that has weights counts."""

FACTS = ("data", "model", "device")
"""What the rules go by, of all that the command line may set; the rest changes what they choose."""

TIMED = {"source": "demo", "demo_images_per_class": 20}
"""The images of the steps that are timed."""


def chosen_experiment(settings: Sequence[str], options: Mapping[str, Any]) -> auto.Choice:
    """Looks at what `settings` and `options`, as of `load_experiment`, say of data and machine.

    The time among them is for everything. Raises UserError as `load_experiment` and `open_source`,
    and if the time is too short.
    """
    begin = time.monotonic()
    asked = [line for line in settings if _section(line) in FACTS]
    given = load_experiment(None, settings=asked, options=options)
    seconds = given.search.time or USUAL_TIME
    if seconds < LEAST_TIME:
        raise UserError(f"--time {seconds:g}: auto needs {LEAST_TIME:.0f} seconds at least")
    facts = _facts(given, model_is_asked="model" in map(_section, asked))
    pace = _seconds_an_image(auto.reference(facts), given)
    # What took so long here, the start of a run does again: processes that import, and a network.
    looked = time.monotonic() - begin
    left = seconds - looked
    return auto.choose(replace(facts, seconds=pace, time=left, start=max(LEAST_START, looked)))


def _section(setting: str) -> str:
    return re.split("[.=]", setting.strip())[0]


def _facts(given: Experiment, *, model_is_asked: bool) -> auto.Facts:
    models, reason = _models(given, model_is_asked)
    on_gpus = resolve_device(given.device).type != "cpu"
    return auto.Facts(
        **vars(look_at(given.data)),
        time=0.0,
        start=0.0,
        cores=usable_cores(),
        gpus=max(1, torch.cuda.device_count()) if on_gpus else 0,
        memory=memory_bytes() / 1e9,
        models=models,
        is_asked=model_is_asked,
        no_weights=reason,
    )


def _models(given: Experiment, is_asked: bool) -> tuple[tuple[dict[str, str], ...], str]:
    """Returns the pre-trained networks whose weights can be had, or why there are none."""
    if is_asked:
        if not isinstance(given.model, PretrainedConfig):
            return (), f"model.kind is {given.model.kind}"
        asked = given.model.model_dump(include={"source", "backbone", "weights"})
        return (asked,), ""
    reason = ""
    for source, backbones in CANDIDATES:
        models = [{"source": source, "backbone": each, "weights": "default"} for each in backbones]
        try:
            missing = [why_missing(PretrainedConfig(kind="pretrained", **each)) for each in models]
        except ValueError as error:  # the source is not installed
            reason = reason or str(error)
            continue
        there = [model for model, why in zip(models, missing, strict=True) if why is None]
        if there:
            return tuple(there), ""
        reason = str(missing[0])
    return (), reason


def _seconds_an_image(tree: dict[str, Any], given: Experiment) -> float:
    """Trains on drawn pictures for a few steps; returns the seconds an image on a GPU or all cores.

    On a CPU with one thread, as most trials have: several would wait for each other on a machine
    with other work.
    """
    data = tree.get("data", {}) | TIMED | {"cache": given.data.cache}
    timed = loaded(tree | {"data": data, "device": given.device})
    device = resolve_device(given.device)
    found = rehearse(timed, open_dataset(timed.data), device=device, threads=1)
    return found.seconds / found.images / (usable_cores() if device.type == "cpu" else 1)


def loaded(tree: Mapping[str, Any]) -> Experiment:
    """Returns the experiment that a tree of settings extends another to."""
    with TemporaryDirectory(prefix="inat_ray-auto-") as folder:
        path = Path(folder) / "auto.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return load_experiment(path)
