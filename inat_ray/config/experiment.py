"""An experiment as a person writes it, validated.

The YAML file maps onto `Experiment` field by field. A misspelt key is an error, not a setting that
is silently ignored. The text under each field is its description in the JSON Schema and in
docs/settings.md (see schema.py).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from inat_ray.config.backbones import patch_side
from inat_ray.config.device import DeviceName
from inat_ray.config.model import (
    MIN_IMAGE_SIZE,
    CnnConfig,
    ModelConfig,
    PretrainedConfig,
    wanted_size,
)
from inat_ray.config.resources import Resources
from inat_ray.config.search import SearchConfig
from inat_ray.config.section import Fraction, PathText, Section
from inat_ray.config.tracking import TrackingConfig
from inat_ray.optimizers.registry import OptimizerName

PARTS = ("train", "validation", "test")
"""The settings of `data` that each name a folder."""

NAMED_SOURCES = ("demo", "inaturalist-12k")
"""The values of `data.source` that are not folders."""

DEFAULT_IMAGE_SIZE = 64
"""In pixels, of images for a model that begins without weights."""

SIZE_FOLLOWS = ("model", "model.kind", "model.source", "model.backbone", "model.weights")
"""The settings that decide which size of images a model wants."""

Probability = Annotated[float, Field(ge=0, le=1)]


class DataConfig(Section):
    """The photographs: where they are, how they are split, and how each becomes a square."""

    source: PathText = "demo"
    """A folder of labeled photographs, `inaturalist-12k` (downloaded), or `demo` (drawn by code).
    `--data` sets it."""
    train: PathText | None = None
    """The folder that holds the class folders of the training images, relative to the source or as
    a full path; `.` if each folder of the source is a class. Needed only if the folders' names do
    not tell. With it nothing is guessed: a part that `validation` or `test` does not name is split
    off from the training images."""
    validation: PathText | None = None
    """The folder of the validation images, given like `train`. It replaces validation_fraction."""
    test: PathText | None = None
    """The folder of the test images, given like `train`."""
    image_size: int | None = Field(None, ge=MIN_IMAGE_SIZE, le=1024)
    """Side of the square that the model sees, in pixels. null: a pre-trained model has the size of
    its weights, mostly 224, and any other 64."""
    pack_size: int | None = Field(None, ge=MIN_IMAGE_SIZE, le=2048)
    """Side of the stored squares, in pixels. null: 1.25 x image_size (the largest of a search), so
    that random crops have room."""
    fit: Literal["crop", "squash", "pad"] = "crop"
    """How a photograph becomes a square. crop: the longer side is cut. squash: the image is
    distorted. pad: it is padded with gray."""
    validation_fraction: Fraction = 0.2
    """Share of each class's training images that is set aside for validation. Unused if the data
    have a validation folder."""
    test_fraction: Fraction = 0.2
    """Share of each class that is set aside for the test. Used only if the data have no test
    folder."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of each class's training and validation images that is used, the same images every
    time: for a quick look, or a study of many runs. The test set is always whole."""
    split_seed: int = Field(42, ge=0, lt=2**63)
    """Decides which images validate. It is apart from `seed`, so that every seed sees the same
    split."""
    max_bad_fraction: float = Field(0.01, ge=0, le=1)
    """Largest share of images that may fail to decode; more stop the run."""
    cache: PathText = "~/.cache/inat_ray"
    """Folder of packs (decoded images) and downloads."""
    demo_images_per_class: int = Field(250, ge=10, le=10_000)
    """demo: how many images are drawn for each class, test images included."""
    inaturalist_url: str = "https://storage.googleapis.com/wandb_datasets/nature_12K.zip"
    """Address of the iNaturalist-12K archive; any mirror of the same file works."""

    @model_validator(mode="after")
    def _pack_holds_the_image(self) -> "DataConfig":
        if self.pack_size is not None and self.pack_size < (self.image_size or 0):
            raise ValueError(f"pack_size {self.pack_size} is below image_size {self.image_size}")
        return self

    @model_validator(mode="after")
    def _parts_are_of_a_folder(self) -> "DataConfig":
        given = [name for name in PARTS if getattr(self, name) is not None]
        if given and self.source == "demo":
            raise ValueError(f"{given[0]} names a folder of photographs, and source is demo")
        return self

    @property
    def pack_side(self) -> int:
        """Side of the stored squares, in pixels."""
        return self.pack_size or round(1.25 * (self.image_size or DEFAULT_IMAGE_SIZE))


class AugmentConfig(Section):
    """Augmentation of training images if `recipe.augment` is true. 0 or false turns a part off."""

    # What a setting does, it does in data/augment.py: the only other file that a new one takes.
    flip: bool = True
    """Mirrors half of the images left to right."""
    crop_scale: Fraction | Literal[1] = 0.35
    """Random resized crop: the least share of the area that is kept; 1: no cropping."""
    crop_ratio: float = Field(4 / 3, ge=1, le=4)
    """Random resized crop: aspect ratios are drawn from [1/crop_ratio, crop_ratio]."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Rotation: angles are drawn from [-x, x] degrees. Beyond its edge an image goes on
    mirrored."""
    brightness: float = Field(0.0, ge=0, le=1)
    """Color jitter: brightness factors are drawn from [1 - x, 1 + x]."""
    contrast: float = Field(0.0, ge=0, le=1)
    """Color jitter: contrast factors are drawn from [1 - x, 1 + x]."""
    saturation: float = Field(0.0, ge=0, le=1)
    """Color jitter: saturation factors are drawn from [1 - x, 1 + x]."""
    erase: Probability = 0.0
    """Random erasing: the probability that a rectangle of an image is replaced by the mean."""
    mixup: float = Field(0.0, ge=0, le=10)
    """Mixup: alpha of its Beta distribution; 0: no mixup."""
    cutmix: float = Field(0.0, ge=0, le=10)
    """CutMix: alpha of its Beta distribution; 0: no CutMix. With mixup too, each batch takes one
    of them."""

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others of their batch."""
        return bool(self.mixup or self.cutmix)


GROWS_FROM, GROWS_TO = 0.5, 0.8
"""Progressive resizing: the shares of the epochs after which images grow and are full."""

SIDE_STEP = 32
"""They grow by so many pixels: few shapes have their algorithms chosen and graphs captured."""


class RecipeConfig(Section):
    """The training of a model."""

    optimizer: OptimizerName = "adamw"
    """muon: orthogonalized steps for all weights but the output layer's, and AdamW for the rest."""
    lr: float = Field(3e-3, gt=0, le=10)
    """Peak learning rate of the output layer, for the whole batch over all workers."""
    backbone_lr_factor: float = Field(1.0, gt=0, le=10)
    """Learning rate of all other layers, as a multiple of `lr`."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Each layer's learning rate is this times that of the layer after it. null: no decay."""
    weight_decay: float = Field(0.05, ge=0, le=10)
    """Weight decay of convolutions and dense layers; biases and norms have none."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Nesterov momentum (sgd, muon)."""
    schedule: Literal["constant", "cosine", "one_cycle", "warmup_stable_decay"] = "one_cycle"
    """Learning-rate schedule. All but constant begin with a warm-up. cosine: then falls to zero by
    a cosine. one_cycle: rises and falls by a cosine. warmup_stable_decay: stays at its peak, then
    falls to zero in a straight line."""
    warmup_fraction: float = Field(0.2, ge=0, lt=1)
    """Share of all steps in which the learning rate rises (cosine, one_cycle,
    warmup_stable_decay)."""
    decay_fraction: float = Field(0.4, ge=0, le=1)
    """Share of all steps in which the learning rate falls to zero (warmup_stable_decay)."""
    epochs: int = Field(10, ge=1, le=100_000)
    """Passes over the training images."""
    train_scale: float = Field(1.0, gt=0, le=1)
    """Side of training images as a share of `data.image_size`, the size at which images are
    evaluated. A random crop shows things larger than the whole image does; smaller training images
    make up for it, and take less time (Touvron et al., 2019). Less than 1 for networks that take
    images of any size."""
    initial_scale: float = Field(1.0, gt=0, le=1)
    """Progressive resizing: the side of training images in the first half of the epochs, as a share
    of what it then grows to and is in the last fifth. Images are evaluated at their full size
    throughout, so early epochs of trials that differ in it do not compare. Less than 1 for networks
    that take images of any size."""
    batch_size: int = Field(64, ge=2, le=65_536)
    """Images in a step, summed over all workers."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of each training label that is spread evenly over all classes."""
    gradient_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient. null: not clipped."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, which is then what is evaluated and
    kept. null: the weights themselves are."""
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    """Number format of the computation. auto: bf16 on GPUs that support it, otherwise fp32."""
    cuda_graph: bool = True
    """Captures a training step once and launches it as a whole, on one GPU that holds the
    images. Not with a network of one's own, whose Python may decide anew in each step."""
    channels_last: bool = True
    """Keeps tensors in the channels-last memory format, which is faster on most devices."""
    sync_batch_norm: bool | None = None
    """With several workers: batch norm takes its statistics over all of them, which works on GPUs.
    null: if a worker sees fewer than 32 images a step, too few for statistics of its own."""
    flip_average: bool = False
    """Evaluates each image and its mirror image, and averages the probabilities."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the loss weights each class by the inverse of its frequency."""
    augment: bool = True
    """Whether training images are augmented, as `augmentation` says."""
    augmentation: AugmentConfig = AugmentConfig()
    keep: Literal["best", "last"] = "best"
    """Which epoch's model is kept. best: the one with the best metric on validation, which is a
    little optimistic of it. last: the last one, for schedules that end near 0 and for few
    validation images."""
    calibrate: bool = True
    """Fits one number, the temperature, on the validation images, by which the kept model is as
    sure as it is right (Guo et al. 2017). It changes probabilities, and never which is highest."""

    @model_validator(mode="after")
    def _phases_fit(self) -> "RecipeConfig":
        if (
            self.schedule == "warmup_stable_decay"
            and self.warmup_fraction + self.decay_fraction > 1
        ):
            raise ValueError("warmup_fraction + decay_fraction must not exceed 1")
        return self


def _as_written(part: Any) -> Any:
    """Returns a part of an experiment as a file has it."""
    return part.model_dump() if isinstance(part, Section) else part


class Experiment(Section):
    """One study: data, model, recipe, and optionally a search over them."""

    name: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run folder, and the run in tables and trackers."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of initialization, order, augmentation, and search; the split has its own. `--seed` sets
    it."""
    device: DeviceName = "auto"
    """What to compute on: an NVIDIA GPU, Apple's (mps, which we could not try), or the CPU. auto: a
    GPU if there is one."""
    data: DataConfig = DataConfig()
    model: ModelConfig = CnnConfig()
    recipe: RecipeConfig = RecipeConfig()
    search: SearchConfig = SearchConfig()
    resources: Resources = Resources()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _size_that_the_model_wants(cls, tree: Any) -> Any:
        """Sets the image size if it is not set, unless each trial of the search has its own."""
        if not isinstance(tree, Mapping):
            return tree
        data, model = (_as_written(tree.get(key, {})) for key in ("data", "model"))
        if not isinstance(data, Mapping) or data.get("image_size") is not None:
            return tree
        search = _as_written(tree.get("search"))
        searched = search.get("parameters") if isinstance(search, Mapping) else None
        if isinstance(searched, Mapping) and not searched.keys().isdisjoint(SIZE_FOLLOWS):
            return tree
        size = wanted_size(model) or DEFAULT_IMAGE_SIZE
        return {**tree, "data": {**data, "image_size": size}}

    @property
    def image_size(self) -> int:
        """Side of the square that the model sees, in pixels; of a trial, if each has its own."""
        assert self.data.image_size is not None
        return self.data.image_size

    def side_in(self, epoch: int) -> int:
        """Returns the side of the training images of an epoch, counted from 0, in pixels.

        Small for the first half of the epochs, `train_scale` of the image for the last fifth, and
        between them in a straight line (the defaults of MosaicML's Composer).
        """
        last = max(MIN_IMAGE_SIZE, round(self.recipe.train_scale * self.image_size))
        grown = (epoch / self.recipe.epochs - GROWS_FROM) / (GROWS_TO - GROWS_FROM)
        first = self.recipe.initial_scale
        scale = first + (1 - first) * min(max(grown, 0.0), 1.0)
        side = round(scale * last / SIDE_STEP) * SIDE_STEP
        return last if scale == 1 else min(last, max(SIDE_STEP, side))

    @property
    def final_validation_fraction(self) -> float:
        """Share of each class's training images that the winner's training sets aside."""
        return self.search.final_validation_fraction or self.data.validation_fraction

    @property
    def sides(self) -> set[int]:
        """Sides of the images that are trained on and evaluated, in pixels."""
        return {self.image_size, *map(self.side_in, range(self.recipe.epochs))}

    @property
    def scales(self) -> dict[str, float]:
        """The settings that make training images smaller than those that are evaluated."""
        recipe = self.recipe
        scales = {"train_scale": recipe.train_scale, "initial_scale": recipe.initial_scale}
        return {f"recipe.{name}": scale for name, scale in scales.items() if scale < 1}

    @model_validator(mode="after")
    def _takes_smaller_images(self) -> "Experiment":
        fits_one = isinstance(self.model, CnnConfig) and not self.model.global_pool
        if fits_one and (scales := self.scales):
            name, scale = next(iter(scales.items()))
            raise ValueError(
                f"{name} {scale:g}: without model.global_pool, the cnn's dense layer fits one size"
                " of images; 1 is allowed, or global_pool true"
            )
        return self

    @model_validator(mode="after")
    def _images_have_whole_patches(self) -> "Experiment":
        model, size = self.model, self.data.image_size
        if not isinstance(model, PretrainedConfig) or size is None:
            return self
        side = patch_side(model.source, model.backbone)
        if over := size % side:
            raise ValueError(
                f"data.image_size {size}: {model.backbone} has patches of {side} pixels; a multiple"
                f" of it is allowed, such as {max(size - over, side)} or {size - over + side}"
            )
        return self

    @model_validator(mode="after")
    def _device_suits_the_resources(self) -> "Experiment":
        gpus, kind = self.resources.gpus_per_worker, self.resources.accelerator_type
        if self.device == "cuda" and gpus == 0:
            raise ValueError(
                "device is cuda, and resources.gpus_per_worker is 0: a worker would have no GPU;"
                " device cpu or auto is allowed, or more GPUs"
            )
        if self.device in ("cpu", "mps") and (gpus or kind is not None):
            wanted = f"gpus_per_worker is {gpus}" if gpus else f"accelerator_type is {kind}"
            raise ValueError(
                f"device is {self.device}, and resources.{wanted}: no such GPU would be used;"
                " device cuda or auto is allowed, or no GPUs"
            )
        if self.device == "mps" and self.resources.workers_per_trial > 1:
            raise ValueError(
                f"device is mps, and resources.workers_per_trial is"
                f" {self.resources.workers_per_trial}: there is one such GPU, and PyTorch cannot"
                " train on it together with others; 1 is allowed"
            )
        return self

    @model_validator(mode="after")
    def _final_training_has_more_images(self) -> "Experiment":
        fraction, data = self.search.final_validation_fraction, self.data
        if fraction is not None and data.validation is not None:
            raise ValueError(
                f"search.final_validation_fraction {fraction:g}: data.validation names the"
                " validation images, so there is no fraction of them; null is allowed"
            )
        if fraction is not None and fraction > data.validation_fraction:
            raise ValueError(
                f"search.final_validation_fraction {fraction:g}: is above data.validation_fraction"
                f" {data.validation_fraction:g}, and the winner is to train on more images, not"
                " fewer"
            )
        return self

    @model_validator(mode="after")
    def _workers_have_images(self) -> "Experiment":
        workers = max(self.resources.workers_per_trial, self.resources.final_workers or 1)
        if self.recipe.batch_size < workers:
            raise ValueError(
                f"recipe.batch_size {self.recipe.batch_size} is split over {workers} workers;"
                " each needs an image at least"
            )
        return self
