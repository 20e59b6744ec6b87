"""What a person writes: one experiment, validated.

The YAML file of a study maps onto `Experiment` field by field; `extra="forbid"` makes a
misspelt key an error instead of a setting that is silently ignored.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from inat_ray.config.model import MIN_IMAGE_SIZE, CnnConfig, ModelConfig
from inat_ray.config.resources import Resources
from inat_ray.config.search import SearchConfig
from inat_ray.config.settings import PathText, Settings
from inat_ray.config.tracking import TrackingConfig

PRETRAINED_SIZE = 224
"""Side of the images that torchvision's ImageNet weights are evaluated on, in pixels."""

PARTS = ("train", "validation", "test")
"""Settings of `data` that name a folder each."""

NAMED_SOURCES = ("demo", "inaturalist-12k")
"""What `data.source` may be that is no folder."""

Fraction = Annotated[float, Field(gt=0, lt=1)]

Probability = Annotated[float, Field(ge=0, le=1)]


class DataConfig(Settings):
    """Where the photographs are and how each becomes a square."""

    source: PathText = "demo"
    """A folder, `inaturalist-12k` (downloaded) or `demo` (drawn by code); `--data` sets it."""
    train: PathText | None = None
    """The folder with the class folders of the training images, in the source or by its whole path,
    where names do not tell; `.`: each folder of the source is a class. With it nothing is guessed:
    what `validation` and `test` do not name is split off from it."""
    validation: PathText | None = None
    """The folder of the validation images, likewise; it takes the place of validation_fraction."""
    test: PathText | None = None
    """The folder of the test images, likewise."""
    image_size: int = Field(64, ge=MIN_IMAGE_SIZE, le=1024)
    """Side of the square that the model sees, in pixels; 224 for a pre-trained model unless set."""
    pack_size: int | None = Field(None, ge=MIN_IMAGE_SIZE, le=2048)
    """Side of the squares in the pack; None: 1.25 x image_size, so that random crops have room."""
    fit: Literal["crop", "squash", "pad"] = "crop"
    """How a photograph becomes a square: cut the longer side, distort, or pad with grey."""
    validation_fraction: Fraction = 0.2
    """Share of each class's training images that validate; unused where a layout brings its own."""
    test_fraction: Fraction = 0.2
    """Share of each class set aside for the test; used only for plain class folders."""
    share: float = Field(1.0, gt=0, le=1)
    """Share of each class's training and validation images that is used, the same ones every time:
    for a quick look, or a study of many runs. The test set is always whole."""
    split_seed: int = Field(42, ge=0, lt=2**63)
    """Decides which images validate. Not the run's seed, so every seed sees the same split."""
    max_bad_fraction: float = Field(0.01, ge=0, le=1)
    """More undecodable images than this share stop the run."""
    cache: PathText = "~/.cache/inat_ray"
    """Folder of the packs and downloads."""
    demo_images_per_class: int = Field(250, ge=10, le=10_000)
    """Size of the drawn data set, test images included."""
    inaturalist_url: str = "https://storage.googleapis.com/wandb_datasets/nature_12K.zip"
    """Address of the iNaturalist-12K archive (any mirror of the same file works)."""

    @model_validator(mode="after")
    def _pack_holds_the_image(self) -> "DataConfig":
        if self.pack_size is not None and self.pack_size < self.image_size:
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
        return self.pack_size or round(1.25 * self.image_size)


class AugmentConfig(Settings):
    """What `recipe.augment: true` does to training images. Zero or false switches a part off."""

    flip: bool = True
    """Mirror half of the images left to right."""
    crop_scale: Fraction | Literal[1] = 0.35
    """Random resized crop: least share of the area that is kept; 1: no cropping."""
    crop_ratio: float = Field(4 / 3, ge=1, le=4)
    """Random resized crop: aspect ratios are drawn from [1/crop_ratio, crop_ratio]."""
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    """Colour jitter: factors are drawn from [1 - x, 1 + x]."""
    erase: Probability = 0.0
    """Random erasing: probability that a rectangle of an image is replaced by the mean."""
    mixup: float = Field(0.0, ge=0, le=10)
    """alpha of the Beta distribution of mixup; 0: none."""
    cutmix: float = Field(0.0, ge=0, le=10)
    """alpha of the Beta distribution of cutmix; with mixup too, each batch takes one of them."""


class RecipeConfig(Settings):
    """How a model is trained."""

    optimizer: Literal["adam", "adamw", "sgd", "muon"] = "adamw"
    """muon: orthogonal steps for all weights but the output layer's, AdamW's for the rest."""
    lr: float = Field(3e-3, gt=0, le=10)
    """Peak learning rate, of the output layer, for the whole batch over all workers."""
    backbone_lr_factor: float = Field(1.0, gt=0, le=10)
    """The other layers' learning rate as a share of it."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Each layer's rate is this times that of the layer after it; None: the same for all."""
    weight_decay: float = Field(0.05, ge=0, le=10)
    """Applied to weights of convolutions and dense layers, never to biases or norms."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Nesterov momentum; SGD and Muon."""
    schedule: Literal["constant", "cosine", "one_cycle", "warmup_stable_decay"] = "one_cycle"
    warmup_fraction: float = Field(0.2, ge=0, lt=1)
    """Share of all steps in which the rate rises (cosine, one_cycle, warmup_stable_decay)."""
    decay_fraction: float = Field(0.4, ge=0, le=1)
    """Share of all steps in which the rate falls to zero (warmup_stable_decay)."""
    epochs: int = Field(10, ge=1, le=100_000)
    batch_size: int = Field(64, ge=2, le=65_536)
    """Images in a step, over all workers."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    gradient_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; None: not clipped."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Evaluate an exponential moving average of the weights; None: the weights themselves."""
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    """auto: bf16 on GPUs that support it, otherwise fp32."""
    cuda_graph: bool = True
    """On one GPU that holds the images, capture a step once and launch it as a whole."""
    channels_last: bool = True
    sync_batch_norm: bool | None = None
    """Several workers: batch statistics over all of them, which works on GPUs. None: where a
    worker sees fewer than 32 images a step, too few for statistics of their own."""
    flip_average: bool = False
    """Evaluate each image and its mirror image, and average the probabilities."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: the loss weighs each class by the inverse of its frequency."""
    augment: bool = True
    augmentation: AugmentConfig = AugmentConfig()

    @model_validator(mode="after")
    def _phases_fit(self) -> "RecipeConfig":
        if (
            self.schedule == "warmup_stable_decay"
            and self.warmup_fraction + self.decay_fraction > 1
        ):
            raise ValueError("warmup_fraction + decay_fraction must not exceed 1")
        return self


class Experiment(Settings):
    """One study: data, model, recipe, and optionally a search over them."""

    name: str = Field("experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of initialisation, order and augmentation; the split has its own."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    data: DataConfig = DataConfig()
    model: ModelConfig = CnnConfig()
    recipe: RecipeConfig = RecipeConfig()
    search: SearchConfig = SearchConfig()
    resources: Resources = Resources()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _size_of_the_weights(cls, tree: Any) -> Any:
        """Pre-trained weights bring the image size that they were made for."""
        if not isinstance(tree, Mapping):
            return tree
        model, data = tree.get("model"), tree.get("data", {})
        if not (isinstance(model, Mapping) and isinstance(data, Mapping)):
            return tree
        untrained = model.get("kind") != "resnet" or model.get("weights") == "none"
        if untrained or "image_size" in data:
            return tree
        return {**tree, "data": {**data, "image_size": PRETRAINED_SIZE}}

    @model_validator(mode="after")
    def _device_suits_the_resources(self) -> "Experiment":
        gpus, kind = self.resources.gpus_per_worker, self.resources.accelerator_type
        if self.device == "cuda" and gpus == 0:
            raise ValueError(
                "device is cuda, and resources.gpus_per_worker is 0: a worker would have no GPU;"
                " device cpu or auto is allowed, or more GPUs"
            )
        if self.device == "cpu" and (gpus or kind is not None):
            wanted = f"gpus_per_worker is {gpus}" if gpus else f"accelerator_type is {kind}"
            raise ValueError(
                f"device is cpu, and resources.{wanted}: no GPU would be used; device cuda or auto"
                " is allowed, or no GPUs"
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
