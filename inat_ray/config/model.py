"""The `model` section: a kind of network, and what of it is frozen."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, JsonValue, Tag, field_validator, model_validator

from inat_ray.config.backbones import Source, images_for, weight_tags
from inat_ray.config.section import PathText, Section

CONV_BLOCKS = 5
"""Convolution blocks of the CNN: fixed, as in the origin's search space."""

MIN_IMAGE_SIZE: int = 2**CONV_BLOCKS
"""Each block halves the picture, so fewer pixels than this would leave nothing to pool."""

Filters = Annotated[int, Field(ge=1, le=4096)]

KernelSize = Annotated[int, Field(ge=1, le=15)]


class CnnConfig(Section):
    """A CNN of five convolution blocks, trained from scratch."""

    kind: Literal["cnn"] = "cnn"
    """The family. Without it, a model is a cnn."""
    filters: list[Filters] = Field(
        [32, 64, 128, 256, 512], min_length=CONV_BLOCKS, max_length=CONV_BLOCKS
    )
    """Filters of each block's convolution."""
    kernel_sizes: list[KernelSize] = Field(
        [3, 3, 3, 3, 3], min_length=CONV_BLOCKS, max_length=CONV_BLOCKS
    )
    """Kernel size of each block's convolution, in pixels; odd."""
    activation: Literal["relu", "gelu", "silu", "mish"] = "mish"
    """Activation after each convolution and after the dense layer."""
    dense: int = Field(256, ge=1, le=65_536)
    """Neurons of the dense layer before the output layer."""
    batch_norm: bool = True
    """Normalizes the output of each convolution over the batch."""
    residual_blocks: int = Field(0, ge=0, le=8)
    """Residual blocks after each block's pooling: two convolutions and a shortcut each. This
    setting and the next two are additions to the original study's CNN."""
    squeeze_excite: int | None = Field(None, ge=1, le=256)
    """Squeeze and excitation in each residual block: the factor by which it narrows the channels.
    null: no squeeze and excitation."""
    global_pool: bool = False
    """The dense layer sees the mean of each feature map instead of all its pixels."""
    initialization: Literal["he", "pytorch"] = "he"
    """he: variances for rectifiers (He et al., 2015), and an output layer that starts small.
    pytorch: PyTorch's defaults."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout after the dense layer, and after each block unless conv_dropout is set."""
    conv_dropout: float | None = Field(None, ge=0, lt=1)
    """Dropout of whole feature maps after each block. null: the same as `dropout`."""

    @field_validator("kernel_sizes")
    @classmethod
    def _odd(cls, sizes: list[int]) -> list[int]:
        if even := [size for size in sizes if size % 2 == 0]:
            raise ValueError(f"kernel sizes must be odd (padding keeps the size), not {even}")
        return sizes

    @model_validator(mode="after")
    def _squeezes_something(self) -> "CnnConfig":
        if self.squeeze_excite is not None and not self.residual_blocks:
            raise ValueError(
                "squeeze_excite is a part of residual blocks, and residual_blocks is 0"
            )
        return self


FreezeStrategy = Literal["none", "head_only", "first_k", "fraction", "freeze_fc", "gradual"]

_FREEZE_TAKES: dict[FreezeStrategy, str] = {
    "first_k": "k",
    "fraction": "fraction",
    "gradual": "every",
}


class FreezeConfig(Section):
    """Which layers of a network stay frozen.

    Layers are counted in the order in which they run: each convolution, dense layer or attention
    with the norms, scales and positions that go with it; the output layer is the last.
    """

    strategy: FreezeStrategy = "none"
    """head_only: all layers but the output layer are frozen. first_k, fraction: the first layers
    are. freeze_fc: the output layer is, and all others train. gradual: the output layer
    trains first, and every few epochs one more stage thaws, from the head down."""
    k: int | None = Field(None, ge=0)
    """first_k: the number of layers that are frozen."""
    fraction: float | None = Field(None, ge=0, lt=1)
    """fraction: the share of layers that is frozen, rounded to whole layers; one always trains."""
    every: int | None = Field(None, ge=1)
    """gradual: the number of epochs between one thaw and the next."""

    @model_validator(mode="after")
    def _has_what_its_strategy_takes(self) -> "FreezeConfig":
        taken = _FREEZE_TAKES.get(self.strategy)
        if taken is not None and getattr(self, taken) is None:
            raise ValueError(f"strategy {self.strategy} needs {taken}")
        given = [name for name in _FREEZE_TAKES.values() if getattr(self, name) is not None]
        if surplus := [name for name in given if name != taken]:
            raise ValueError(f"strategy {self.strategy} takes no {', '.join(surplus)}")
        return self


class FreezableConfig(Section):
    """What networks have in common that may begin with weights and stay frozen in part."""

    weights: PathText = "none"
    """none, or the path of a state dict (.pth or .safetensors), which may be in a bucket
    (s3://...). On a cluster, a file on the head node is enough."""
    freeze: FreezeConfig = FreezeConfig()
    """Which layers stay frozen."""
    cache_features: bool | Literal["any_cut"] = True
    """The output of the frozen part is computed once for each image and kept on disk. true: with
    head_only, and with first_k and fraction if nothing is augmented. any_cut: with first_k and
    fraction also if images are augmented, on `feature_views` fixed views of each. Not with mixup or
    CutMix, which mix pixels, and with first_k and fraction only where it pays."""
    feature_views: int = Field(8, ge=1, le=1000)
    """cache_features: the number of augmented views of each training image that are kept. More
    views give more variety and take longer to compute, once. Without the cache, every epoch has
    views of its own."""

    @property
    def pretrained(self) -> bool:
        """Whether training begins with weights."""
        return self.weights != "none"


class PretrainedConfig(FreezableConfig):
    """A network of torchvision or timm with a new output layer and a part that is frozen."""

    kind: Literal["pretrained"]
    """The kind of model."""
    source: Source = "torchvision"
    """The library that the network is from. timm comes with the extra `timm`."""
    backbone: str = Field("resnet50", pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")
    """The network without its output layer, by the source's name for it."""
    weights: PathText = "default"
    """default (downloaded once), another name that the source gives to weights of this backbone,
    none, or the path of a state dict (.pth or .safetensors), which may be in a bucket (s3://...).
    On a cluster, a file on the head node is enough."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout before the output layer."""

    @model_validator(mode="after")
    def _backbone_exists(self) -> "PretrainedConfig":
        tags = weight_tags(self.source, self.backbone)
        if self.weights == "default" and not tags:
            raise ValueError(
                f"weights default: {self.source} has none for {self.backbone};"
                " none or a path is allowed"
            )
        return self


def wanted_size(model: Any) -> int | None:
    """Returns the side of the images that a model as it is written wants; None if any will do.

    What is wrong with the model is for its own validation to say.
    """
    if not isinstance(model, Mapping) or model.get("kind") not in ("pretrained", "resnet"):
        return None
    source = model.get("source", "torchvision")
    backbone, weights = model.get("backbone", "resnet50"), model.get("weights", "default")
    if weights == "none" or source not in get_args(Source):
        return None
    try:
        return images_for(source, str(backbone), str(weights)).size
    except ValueError:
        return None


class ResnetConfig(PretrainedConfig):
    """A ResNet of torchvision: `kind: pretrained` in other words."""

    kind: Literal["resnet"]  # type: ignore[assignment]
    """The kind of model."""
    source: Literal["torchvision"] = "torchvision"
    """The library that the network is from."""
    backbone: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = "resnet50"
    """The network without its output layer."""
    weights: PathText = "imagenet1k_v2"
    """imagenet1k_v2 or imagenet1k_v1 (downloaded once), none, or the path of a state dict (.pth or
    .safetensors), which may be in a bucket (s3://...). On a cluster, a file on the head node is
    enough."""

    @model_validator(mode="after")
    def _weights_exist(self) -> "ResnetConfig":
        if self.weights == "imagenet1k_v2" and self.backbone in ("resnet18", "resnet34"):
            raise ValueError(
                f"weights imagenet1k_v2: {self.backbone} has imagenet1k_v1 alone;"
                " none or a path are allowed too"
            )
        return self


TARGET = r"^.+:[A-Za-z_][A-Za-z0-9_]*$"
"""A file or a module, and a name in it."""


class ModuleConfig(FreezableConfig):
    """A network of one's own: a class, or a function, that returns an nn.Module."""

    kind: Literal["module"]
    """The kind of model."""
    target: str = Field(max_length=4096, json_schema_extra={"pattern": TARGET})
    """`my_net.py:TinyNet`, a file beside the experiment, or `package.module:TinyNet`. It is called
    with `classes` and `args`; the network returns logits (n, classes) for images (n, 3, s, s)."""
    args: dict[str, JsonValue] = Field(default_factory=dict)
    """Further arguments, by name. Each can be searched: `model.args.width`."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """The SHA-256 of the code, set when a run begins: other code does not build its model."""

    @field_validator("target")
    @classmethod
    def _names_code(cls, target: str) -> str:
        if not re.search(TARGET, target):
            raise ValueError("my_net.py:TinyNet or package.module:TinyNet is allowed")
        return target

    @field_validator("args")
    @classmethod
    def _leaves_classes_to_the_data(cls, args: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if "classes" in args:
            raise ValueError("classes is the number of classes of the data; leave it out")
        return args


MODEL_KINDS: dict[str, type[Section]] = {
    "cnn": CnnConfig,
    "pretrained": PretrainedConfig,
    "resnet": ResnetConfig,
    "module": ModuleConfig,
}


def _model_kind(value: Any) -> str | None:
    """Returns the `kind` of a model as it is written; `cnn` if it has none."""
    if isinstance(value, Mapping):
        return str(value.get("kind", "cnn"))
    return getattr(value, "kind", None)


ModelConfig = Annotated[
    Annotated[CnnConfig, Tag("cnn")]
    | Annotated[PretrainedConfig, Tag("pretrained")]
    | Annotated[ResnetConfig, Tag("resnet")]
    | Annotated[ModuleConfig, Tag("module")],
    Discriminator(
        _model_kind,
        custom_error_type="unknown_kind",
        custom_error_message="kind must be cnn, pretrained, resnet or module",
    ),
]
"""One kind of model, told apart by `kind`."""
