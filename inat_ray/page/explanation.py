"""The section that shows what the model looks at, on validation photographs."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from inat_ray.data.augment import Normalize, plain_view
from inat_ray.data.dataset import DataSet
from inat_ray.page import explain
from inat_ray.page.parts import Section, joined, missing, paragraph, picture, subheading
from inat_ray.page.pictures import (
    filters_picture,
    gradient_picture,
    jpeg,
    maps_picture,
    overlay,
    png,
)
from inat_ray.terminal.words import percent
from inat_ray.training.checkpoint import LoadedModel

NEURONS = 10
SHOWN_PHOTOGRAPHS = 8
SEED = 0
"""Chooses the photographs: nobody picks them."""

CPU = torch.device("cpu")


def explanation_section(model: LoadedModel, data: DataSet | None) -> Section:
    """Filters, feature maps, guided backpropagation and Grad-CAM; without `data`, filters alone.

    The photographs are validation images, which may be looked at as often as one likes.
    """
    parts = [subheading("First-layer filters"), _filters(model)]
    if data is None:
        parts.append(
            missing(
                "The photographs are not available, so what the model sees in them is left out."
            )
        )
    elif data.classes != model.classes:
        parts.append(missing("The photographs have other classes than the model."))
    else:
        model = replace(model, model=deepcopy(model.model).to(CPU))
        chosen = _choice(data)
        parts += [
            subheading("Feature maps"),
            _maps(model, data, chosen[0]),
            subheading("Guided backpropagation"),
            _neurons(model, data, chosen[0]),
            subheading("Grad-CAM"),
            _evidence(model, data, chosen),
        ]
    return Section("What it looks at", "explanation", joined(*parts))


def sheet(cells: Sequence[Markup]) -> Markup:
    """Small pictures next to each other, as many as there is room for."""
    return Markup('<div class="sheet">{}</div>').format(Markup("").join(cells))


def _choice(data: DataSet) -> list[int]:
    """Positions in the pack of some validation images, from as many classes as possible."""
    indices = np.random.default_rng(SEED).permutation(data.subset("validation"))
    labels = data.pack.labels[indices]
    # The first image of each class, then the second of each, and so on.
    turn = [int((labels[:place] == label).sum()) for place, label in enumerate(labels[:500])]
    order = np.argsort(turn, kind="stable")[:SHOWN_PHOTOGRAPHS]
    return [int(index) for index in indices[order]]


def _view(model: LoadedModel, data: DataSet, index: int) -> Tensor:
    """(1, 3, s, s): an image as the model sees it."""
    pixels = torch.from_numpy(data.pack.images[index].copy()).permute(2, 0, 1)[None]
    normalize = Normalize(model.mean, model.std, CPU)
    return plain_view(pixels, size=model.experiment.data.image_size, normalize=normalize)


def _filters(model: LoadedModel) -> Markup:
    filters = explain.first_layer_filters(model.model)
    count, _, size, _ = filters.shape
    caption = f"The {count} filters of {size} x {size} pixels, each in its own range of colors."
    content = png(filters_picture(filters))
    return picture(content, alt=f"{count} filters of the first layer", caption=caption)


def _maps(model: LoadedModel, data: DataSet, index: int) -> Markup:
    maps = explain.feature_maps(model.model, _view(model, data, index))
    cells = [
        picture(
            png(maps_picture(stage, side=240)),
            alt=f"Feature maps after {name}",
            caption=f"{name}: {min(16, stage.shape[0])} of {stage.shape[0]} maps,"
            f" {stage.shape[1]} x {stage.shape[2]}",
        )
        for name, stage in maps.items()
    ]
    said = f"What each stage makes of one photograph ({_truth(data, index)}), after its activation."
    return joined(paragraph(said), sheet([_photograph(data, index), *cells]))


def _neurons(model: LoadedModel, data: DataSet, index: int) -> Markup:
    name, stage = list(explain.stages(model.model).items())[-1]
    image = _view(model, data, index)
    neurons = explain.busiest_neurons(explain.feature_maps(model.model, image)[name], NEURONS)
    cells = []
    for neuron in neurons:
        gradient = explain.guided_backpropagation(model.model, image, stage=stage, neuron=neuron)
        caption = f"channel {neuron.channel}, row {neuron.row}, column {neuron.column}"
        content = png(gradient_picture(gradient))
        cells.append(picture(content, alt=f"Guided gradient of {caption}", caption=caption))
    said = (
        f"What in the same photograph excites {len(neurons)} neurons of the last convolutional"
        f" stage ({name}): the strongest place of each of its busiest channels. Gray is none."
    )
    return joined(paragraph(said), sheet([_photograph(data, index), *cells]))


def _evidence(model: LoadedModel, data: DataSet, chosen: Sequence[int]) -> Markup:
    name, stage = list(explain.stages(model.model).items())[-1]
    said = (
        "Where the evidence for the predicted class lies (brighter is more), on photographs that"
        f" were drawn at random from the validation images; after {name}."
    )
    cells = [_one_evidence(model, data, index, stage=stage) for index in chosen]
    return joined(paragraph(said), sheet(cells))


def _one_evidence(
    model: LoadedModel, data: DataSet, index: int, *, stage: torch.nn.Module
) -> Markup:
    image = _view(model, data, index)
    probabilities = explain.probabilities(model.model, image)
    guess = int(probabilities.argmax())
    heat = explain.grad_cam(model.model, image, stage=stage, label=guess)
    shown = overlay(data.pack.images[index], heat)
    verdict = "right" if guess == data.pack.labels[index] else f"is {_truth(data, index)}"
    caption = f"{model.classes[guess]} {percent(float(probabilities[guess]))}: {verdict}"
    return picture(jpeg(shown, most=224), alt=f"Grad-CAM, {caption}", caption=caption, kind="jpeg")


def _photograph(data: DataSet, index: int) -> Markup:
    content = jpeg(data.pack.images[index], most=224)
    truth = _truth(data, index)
    return picture(content, alt=f"Photograph: {truth}", caption=truth, kind="jpeg")


def _truth(data: DataSet, index: int) -> str:
    return data.classes[int(data.pack.labels[index])]
