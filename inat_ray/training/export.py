"""Exports a saved model as one file for other programs: ONNX, or a program of torch.export.

The exported program takes pixels (n, 3, S, S) in 0..1, RGB, and gives probabilities (n, classes).
Normalization, softmax, temperature and the average over mirror images, if evaluation takes it, are
inside, so the numbers are those of evaluation in 32 bits. n is free. The file also holds, as JSON,
how a photograph becomes such pixels, and the names of the classes: see `about`.

An ONNX file is data, and holds no code. `torch.export.load` may unpickle parts of a .pt2, and so
run code that somebody put there: load only files that you made or whose maker you trust.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inat_ray import __version__
from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.data.augment import Normalize
from inat_ray.models.build import network_name
from inat_ray.models.ensemble import members_of
from inat_ray.models.module import MOST_OF_AN_ERROR
from inat_ray.storage.disk import replacing
from inat_ray.training.checkpoint import LoadedModel
from inat_ray.training.evaluation import average_probabilities, mean_probabilities, with_mirror

Format = Literal["onnx", "torch"]

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

ONNX_BYTES = 2**31
"""The limit of protobuf; a larger model would need a second file beside it."""

INPUT, OUTPUT = "images", "probabilities"

KEY = "inat_ray"
"""Key of the JSON in an ONNX file's metadata; a .pt2 has it as the extra file `inat_ray.json`."""

CHECKED_BATCHES = (1, 3)

TOLERANCE = 1e-4
"""The largest difference from the model's own probabilities that is allowed."""

CPU = torch.device("cpu")


class Classifier(nn.Module):
    """Turns pixels (n, 3, S, S) in 0..1 into probabilities (n, classes)."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.networks = nn.ModuleList(members_of(model.model.to(CPU)))
        self.temperatures = model.temperatures
        self.mirrored = model.experiment.recipe.flip_average
        normalize = Normalize(model.mean, model.std, CPU)
        self.register_buffer("scale", normalize.scale)
        self.register_buffer("shift", normalize.shift)
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        view: Tensor = images * self.scale + self.shift
        views = with_mirror(view, mirrored=self.mirrored)
        logits = [[network(each) for each in views] for network in self.networks]
        return mean_probabilities(logits, self.temperatures)


def check_packages(form: Format) -> None:
    """Raises UserError if a package is missing that the format needs."""
    missing = [name for name in ONNX_PACKAGES if form == "onnx" and find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format onnx: needs {', '.join(missing)}, not installed here:"
            " pip install 'inat_ray[onnx]', or --format torch, which needs nothing more"
        )


def about(model: LoadedModel) -> dict[str, Any]:
    """Returns what a program that uses the exported file needs to know, as JSON can hold it."""
    data, recipe = model.experiment.data, model.experiment.recipe
    size = model.experiment.image_size
    return {
        "name": model.experiment.name,
        "epoch": model.epoch,
        "inat_ray": __version__,
        "torch": torch.__version__,
        "classes": model.classes,
        "image_size": size,
        "mean": list(model.mean),
        "std": list(model.std),
        "flip_average": recipe.flip_average,
        "input": {
            "name": INPUT,
            "shape": ["n", 3, size, size],
            "type": "float32",
            "range": [0, 1],
            "channels": "RGB",
            "normalized_inside": True,
        },
        "output": {"name": OUTPUT, "shape": ["n", len(model.classes)], "type": "float32"},
        "preparation": {
            "decode": "upright by EXIF orientation, as RGB, transparent parts on white",
            "square": {"fit": data.fit, "side": data.pack_side, "filter": "Pillow BILINEAR"},
            "scale": {"side": size, "filter": "bilinear, antialiased"},
            "divide_by": 255,
        },
    }


def export(model: LoadedModel, path: Path, *, form: Format) -> float:
    """Writes the model to `path`, and returns the largest difference from its own probabilities.

    The file gets its name once it was read back and its numbers agree. Raises UserError if the
    format cannot hold the model, or the exporter cannot follow its network, and RunFailedError if
    the numbers differ.
    """
    classifier = Classifier(model)
    size = sum(tensor.nbytes for tensor in classifier.state_dict().values())
    if form == "onnx" and size >= ONNX_BYTES:
        raise UserError(
            f"--format onnx: {model.path} has {size / 2**30:.1f} GiB of weights, and an ONNX file"
            " holds 2 GiB; --format torch has no such limit"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write, load = (_write_onnx, _load_onnx) if form == "onnx" else (_write_torch, _load_torch)
    with replacing(path) as partial:
        with _exporting(model, form):
            write(classifier, partial, model=model)
            difference = largest_difference(load(partial), model)
        if not difference <= TOLERANCE:
            raise RunFailedError(
                f"{path}: gives other probabilities than the model, by up to {difference:.2g}"
                f" where {TOLERANCE:g} is allowed; it was not kept"
            )
    return difference


@contextmanager
def _exporting(model: LoadedModel, form: Format) -> Iterator[None]:
    """Turns what an exporter raises, which may be anything, into a UserError of one sentence."""
    try:
        yield
    except OSError:  # a full disk is not the exporter's
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = f"{type(cause).__name__}: {cause}".splitlines()[0][:MOST_OF_AN_ERROR]
        network = network_name(model.experiment.model)
        raise UserError(
            f"--format {form}: PyTorch cannot export {network} ({said});"
            f" --format {'torch' if form == 'onnx' else 'onnx'} is another exporter"
        ) from None


Program = Callable[[Tensor], Tensor]
"""Pixels (n, 3, S, S) in 0..1 to probabilities (n, classes)."""


@torch.inference_mode()
def largest_difference(program: Program, model: LoadedModel) -> float:
    """Returns the largest difference from the probabilities of evaluation; NaN if either is NaN."""
    rng = torch.Generator().manual_seed(0)
    size, recipe = model.experiment.image_size, model.experiment.recipe
    exact = recipe.model_copy(update={"precision": "fp32"})
    normalize, network = Normalize(model.mean, model.std, CPU), model.model_on(CPU).eval()
    found = []
    for count in CHECKED_BATCHES:
        images = torch.rand(count, 3, size, size, generator=rng)
        views = with_mirror(normalize(images), mirrored=recipe.flip_average)
        ours = average_probabilities(network, views, exact, temperatures=model.temperatures)
        found.append((program(images) - ours).abs().max())
    return float(torch.stack(found).max())


def _write_onnx(classifier: Classifier, path: Path, *, model: LoadedModel) -> None:
    with _quiet():
        program = torch.onnx.export(
            classifier,
            (_example(model),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"images": {0: "n"}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[KEY] = json.dumps(about(model))
    program.save(path, external_data=False)


def _load_onnx(path: Path) -> Program:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        probabilities: NDArray[np.float32]
        [probabilities] = session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(probabilities)

    return run


def _write_torch(classifier: Classifier, path: Path, *, model: LoadedModel) -> None:
    count = torch.export.Dim("n", min=1)
    with _quiet():
        program = torch.export.export(
            classifier, (_example(model),), dynamic_shapes={"images": {0: count}}
        )
        torch.export.save(program, path, extra_files={f"{KEY}.json": json.dumps(about(model))})


def _load_torch(path: Path) -> Program:
    """Loads a file that this process has just written: nobody else's pickle is read."""
    with path.open("rb") as file:
        program: Program = torch.export.load(file).module()
    return program


def _example(model: LoadedModel) -> Tensor:
    """Returns two images: from a batch of one, torch would conclude that all batches are of one."""
    size = model.experiment.image_size
    return torch.zeros(2, 3, size, size)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides the messages that torch has for its own developers while it traces."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
