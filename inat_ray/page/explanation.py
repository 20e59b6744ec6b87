"""The section that shows what the model looks at, on validation photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor, nn

from inat_ray.data.augment import Normalize, plain_view
from inat_ray.data.dataset import DataSet
from inat_ray.models.build import structure_of
from inat_ray.models.ensemble import members_of
from inat_ray.models.module import MOST_OF_AN_ERROR
from inat_ray.page.attribution import (
    UnexplainedError,
    busiest_neurons,
    grad_cam,
    guided_backpropagation,
    watch,
)
from inat_ray.page.html import Section, folded, missing, paragraph, picture, subheading
from inat_ray.page.pictures import (
    Pixels,
    filters_picture,
    gradient_picture,
    jpeg,
    maps_picture,
    overlay,
    png,
)
from inat_ray.terminal.words import percent
from inat_ray.training.calibration import calibrated
from inat_ray.training.checkpoint import LoadedModel
from inat_ray.training.snapshot import first_filters

NEURONS = 10
SHOWN_PHOTOGRAPHS = 8
SEED = 0
"""Chooses the photographs: nobody picks them."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Photograph:
    """A validation image that the model is explained on."""

    pixels: Pixels
    """(S, S, 3)"""
    view: Tensor
    """(1, 3, s, s): the image as the model sees it."""
    truth: str

    def shown(self) -> Markup:
        content = jpeg(self.pixels, most=224)
        alt = f"Photograph: {self.truth}"
        return picture(content, alt=alt, caption=self.truth, kind="jpeg")


def explanation_section(model: LoadedModel, data: DataSet | None) -> Section:
    """Shows filters, feature maps, guided backpropagation and Grad-CAM; without `data`, filters.

    What a network does not allow is said in its place. The photographs are validation images, which
    may be looked at as often as one likes. Of an ensemble, the first network is explained.
    """
    network, *others = members_of(model.model.to(CPU))  # an evaluation may have left it on a GPU
    model = replace(model, model=network)
    filters = folded(_tried(lambda: _filters(model)), summary="First-layer filters")
    if data is None:
        text = "The photographs are not available, so what the model sees in them is left out."
        parts = [missing(text), filters]
    elif data.classes != model.classes:
        parts = [missing("The photographs have other classes than the model."), filters]
    else:
        photographs = _choose(model, data)
        maps = _tried(lambda: _maps(network, photographs[0]))
        neurons = _tried(lambda: _neurons(network, photographs[0]))
        parts = [
            subheading("Grad-CAM"),
            _tried(lambda: _evidence(model, photographs)),
            filters,
            folded(maps, summary="Feature maps"),
            folded(neurons, summary="Guided backpropagation"),
        ]
    if others:
        parts.insert(0, paragraph(f"The first of the {1 + len(others)} networks of this ensemble."))
    return Section("What it looks at", "explanation", *parts)


def _tried(draw: Callable[[], Markup]) -> Markup:
    """Returns what `draw` draws, or why this network does not allow it."""
    try:
        return draw()
    except UnexplainedError as reason:
        return missing(f"Not for this network: {reason}.")
    except Exception as error:  # a network of one's own may do anything, and a report goes on
        said = f"{type(error).__name__}: {error}"[:MOST_OF_AN_ERROR]
        return missing(f"Not for this network ({said}).")


def _choose(model: LoadedModel, data: DataSet) -> list[_Photograph]:
    """Returns some validation images, from as many classes as possible."""
    indices = np.random.default_rng(SEED).permutation(data.subset("validation"))
    labels = data.pack.labels[indices]
    # The first image of each class, then the second of each, and so on.
    turn = [int((labels[:place] == label).sum()) for place, label in enumerate(labels[:500])]
    order = np.argsort(turn, kind="stable")[:SHOWN_PHOTOGRAPHS]
    return [_photograph(model, data, index) for index in indices[order]]


def _photograph(model: LoadedModel, data: DataSet, index: int) -> _Photograph:
    pixels = data.pack.images[index]
    view = plain_view(
        torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None],
        size=model.experiment.image_size,
        normalize=Normalize(model.mean, model.std, CPU),
    )
    return _Photograph(pixels, view=view, truth=data.classes[int(data.pack.labels[index])])


def _filters(model: LoadedModel) -> Markup:
    structure = structure_of(model.model, model.experiment, classes=len(model.classes))
    filters = first_filters(model.model, [names[0] for names in structure.layers])
    if filters is None:
        raise UnexplainedError("its first layer is no convolution on the three colors")
    count, _, height, width = filters.shape
    caption = f"The {count} filters of {height} x {width} pixels, each in its own range of colors."
    content = png(filters_picture(filters))
    return picture(content, alt=f"{count} filters of the first layer", caption=caption)


def _maps(network: nn.Module, photograph: _Photograph) -> Markup:
    cells = [photograph.shown()]
    for maps in watch(network, photograph.view).stages:
        values = maps.of(maps.output)
        caption = f"{min(16, len(values))} of {len(values)} maps, {maps.side} x {maps.side}"
        content, alt = png(maps_picture(values, side=240)), f"Feature maps after {maps.name}"
        cells.append(picture(content, alt=alt, caption=f"{maps.name}: {caption}"))
    note = f"What the layers make of a photograph ({photograph.truth}): the last maps of each size."
    return _sheet(note, cells)


def _neurons(network: nn.Module, photograph: _Photograph) -> Markup:
    seen = watch(network, photograph.view)
    last = seen.stages[-1]
    neurons = busiest_neurons(last.of(last.output), NEURONS)
    gradients = guided_backpropagation(network, seen, neurons)
    cells = [photograph.shown()]
    for neuron, gradient in zip(neurons, gradients, strict=True):
        caption = f"channel {neuron.channel}, row {neuron.row}, column {neuron.column}"
        content = png(gradient_picture(gradient))
        cells.append(picture(content, alt=f"Guided gradient of {caption}", caption=caption))
    note = (
        f"What in the same photograph excites {len(neurons)} neurons of the last maps"
        f" ({last.name}): the strongest place of each of its busiest channels. Gray means none."
    )
    return _sheet(note, cells)


def _evidence(model: LoadedModel, photographs: Sequence[_Photograph]) -> Markup:
    cells, name, classes = [], "", model.classes
    for photograph in photographs:
        seen = watch(model.model, photograph.view)
        said = calibrated(seen.logits.detach().softmax(dim=1), model.temperatures[0])[0]
        label = int(said.argmax())
        maps, heat = grad_cam(seen, label=label)
        name = f"{maps.name}, {maps.side} x {maps.side}"
        verdict = "right" if classes[label] == photograph.truth else f"is {photograph.truth}"
        caption = f"{classes[label]} {percent(float(said[label]))}: {verdict}"
        content = jpeg(overlay(photograph.pixels, heat), most=224)
        cells.append(picture(content, alt=f"Grad-CAM, {caption}", caption=caption, kind="jpeg"))
    note = (
        "Where the evidence for the predicted class lies (brighter is more), on photographs that"
        f" were drawn at random from the validation images; after {name}."
    )
    return _sheet(note, cells)


def _sheet(note: str, cells: Sequence[Markup]) -> Markup:
    """Returns small pictures side by side, as many as there is room for, below a note."""
    sheet = Markup('<p>{}</p><div class="sheet">{}</div>')
    return sheet.format(note, Markup("").join(cells))
