"""The experiment `auto`: looks at the images and the machine, and chooses what suits them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from inat_ray.config import auto
from inat_ray.config.auto import TAKEN
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.model import PretrainedConfig
from inat_ray.config.overrides import parse_setting
from inat_ray.data.dataset import open_dataset
from inat_ray.data.look import look_at
from inat_ray.models.weights import why_missing
from inat_ray.training.device import resolve_device
from inat_ray.training.machine import memory_bytes, usable_cores
from inat_ray.training.rehearsal import rehearse

USUAL_TIME, LEAST_TIME = 3600.0, 60.0

CANDIDATES = (
    ("timm", ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")),
    ("torchvision", ("efficientnet_b0",)),
)
"""Pre-trained networks by source, the fastest first. The first source that has weights counts."""

MOST_THREADS = 8
"""Of the steps that are timed; more cores are taken to be as much faster as there are more."""

TIMED = {"source": "demo", "demo_images_per_class": 20}
"""The images of the steps that are timed."""


def chosen_experiment(settings: Sequence[str], options: Mapping[str, Any]) -> auto.Choice:
    """Looks at what `settings` and `options`, as of `load_experiment`, say of data and machine.

    The time among them is for everything. Raises UserError as `load_experiment` and `open_source`,
    and if the time is too short.
    """
    begin = time.monotonic()
    lines = {line: parse_setting(line)[0] for line in settings}
    keys = {*lines.values(), *options}
    if "model" in keys:
        raise UserError("model: auto needs its settings one by one, such as model.kind=cnn")
    given = load_experiment(
        None,
        settings=[line for line, key in lines.items() if _is_fact(key)],
        options={key: value for key, value in options.items() if _is_fact(key)},
    )
    seconds = given.search.time or USUAL_TIME
    if seconds < LEAST_TIME:
        raise UserError(f"--time {seconds:g}: auto needs {LEAST_TIME:.0f} seconds at least")
    is_asked = any(key in TAKEN and key.startswith("model") for key in keys)
    facts = _facts(given, model_is_asked=is_asked)
    timed = time.monotonic()
    pace = _seconds_an_image(auto.reference(facts), given)
    # What took so long is the process that begins for the steps, as others will.
    now = time.monotonic()
    return auto.choose(
        replace(facts, seconds=pace, time=seconds - (now - begin), start=now - timed)
    )


def _is_fact(key: str) -> bool:
    return key in (*TAKEN, "device", "model.target") or key.partition(".")[0] == "data"


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
        if given.model.kind == "module":
            raise UserError("model.kind: module: auto knows cnn, pretrained and resnet alone")
        if not isinstance(given.model, PretrainedConfig):
            return (), f"model.kind is {given.model.kind}"
        if given.model.weights == "none":
            raise UserError("model.weights: none: auto begins with weights, or with model.kind=cnn")
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

    On a CPU a pre-trained network has several threads, as for its features, and a CNN one, as in
    most trials: where there is other work, threads wait for each other.
    """
    data = tree.get("data", {}) | TIMED | {"cache": given.data.cache}
    timed = load_experiment(tree | {"data": data, "device": given.device})
    device = resolve_device(given.device)
    cores = usable_cores() if device.type == "cpu" else 1
    threads = 1 if timed.model.kind == "cnn" else min(cores, MOST_THREADS)
    found = rehearse(timed, open_dataset(timed.data), device=device, threads=threads)
    return found.seconds / found.images * threads / cores
