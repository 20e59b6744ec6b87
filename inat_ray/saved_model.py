"""A saved model from Python, ready to predict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from inat_ray.config.code import check_named, code_named
from inat_ray.run.folder import model_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import nn

    from inat_ray.training.checkpoint import LoadedModel
    from inat_ray.training.predict import Predicted

PathLike = str | Path


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one photograph."""

    image: "Path | Image | NDArray[np.uint8]"
    """The image as it was given; the photograph's path if a folder was given."""
    label: str | None
    """The likeliest class; None if the photograph cannot be read."""
    probabilities: dict[str, float]
    """Class -> probability, the likeliest first."""
    reason: str | None = None
    """Why the photograph cannot be read."""


@dataclass(frozen=True)
class Model:
    """A saved model, ready to predict."""

    loaded: "LoadedModel"
    device: str = "auto"

    @property
    def classes(self) -> list[str]:
        """The names of its classes, in the order of its outputs."""
        return self.loaded.classes

    @property
    def model(self) -> "nn.Module":
        """The plain network: normalized pixels (n, 3, S, S) to logits (n, classes)."""
        return self.loaded.model

    def predict(
        self, images: "PathLike | Sequence[PathLike | Image | NDArray[np.uint8]]"
    ) -> list[Prediction]:
        """Predicts the classes of photographs, each prepared exactly as in training and evaluation.

        Takes paths, folders of photographs, Pillow images, or arrays (H, W, 3) of uint8, RGB.
        Raises UserError for a path that is not there.
        """
        from inat_ray.data.photographs import photographs_in
        from inat_ray.training.device import resolve_device
        from inat_ray.training.predict import predict

        given = [images] if isinstance(images, str | Path) else list(images)
        with TemporaryDirectory() as scratch:
            shown: dict[Path, Path | Image | NDArray[np.uint8]] = {}
            for number, each in enumerate(given):
                if isinstance(each, str | Path):
                    shown |= {path: path for path in photographs_in([Path(each)])}
                else:
                    shown[_written(each, Path(scratch) / f"{number}.png")] = each
            batches = predict(self.loaded, list(shown), device=resolve_device(self.device))
            return [self._prediction(shown[e.path], e) for batch in batches for e in batch]

    def _prediction(self, image: "Path | Image | NDArray[np.uint8]", of: "Predicted") -> Prediction:
        best = of.top(len(self.classes), self.classes) if of.reason is None else []
        return Prediction(image, best[0][0] if best else None, dict(best), of.reason)


def load(
    model: PathLike,
    *,
    device: str = "auto",
    code: PathLike | None = None,
    changed_code: bool = False,
) -> Model:
    """Loads the model in a file (best.safetensors) or a run's folder.

    `device` is auto (a GPU if there is one), cuda, mps or cpu. A network of your own needs its
    `code`, the file (or installed module) that it was trained with, since a model runs no code by
    itself; `changed_code` takes another one. Raises UserError if there is no model, or it needs
    code.
    """
    from inat_ray.training.checkpoint import load_model

    with code_named(code, changed=changed_code):
        loaded = load_model(model_file(Path(model)))
        check_named(*loaded.members)
        return Model(loaded, device)


def _written(image: "Image | NDArray[np.uint8]", path: Path) -> Path:
    """Writes the image without loss, so that it is prepared as all photographs are."""
    from PIL import Image

    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(path)
    return path
