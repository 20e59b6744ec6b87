"""The 5-block CNN from scratch."""

from torch import Tensor, nn

from inat_ray.config.model import CONV_BLOCKS, CnnConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
}


def build_cnn(config: CnnConfig, *, classes: int, image_size: int) -> nn.Sequential:
    """Images (n, 3, image_size, image_size) to logits (n, classes).

    Five blocks of convolution, batch norm, activation, max pool and dropout; a dense layer
    with batch norm, activation and dropout; the output layer. Pools round down. Residual blocks,
    where there are any, follow the pool.
    """
    channels = [3, *config.filters]
    blocks = [
        _block(config, inputs=channels[i], outputs=channels[i + 1], kernel_size=size)
        for i, size in enumerate(config.kernel_sizes)
    ]
    side = 1 if config.global_pool else image_size >> CONV_BLOCKS
    dense = [
        *([nn.AdaptiveAvgPool2d(1)] if config.global_pool else []),
        nn.Flatten(),
        nn.Linear(config.filters[-1] * side * side, config.dense),
        *([nn.BatchNorm1d(config.dense)] if config.batch_norm else []),
        ACTIVATIONS[config.activation](),
        *_dropout(config.dropout, nn.Dropout),
    ]
    model = nn.Sequential(
        *(nn.Sequential(*block) for block in blocks),
        nn.Sequential(*dense),
        nn.Linear(config.dense, classes),
    )
    is_meta = next(model.parameters()).is_meta  # on which torch would import its compiler for 3 s
    if config.initialization == "he" and not is_meta:
        initialize(model)
    return model


class Residual(nn.Module):
    """Two convolutions and, where it is asked for, a weighing of the feature maps; their result is
    added to what came in (He et al., 2016; squeeze and excitation: Hu et al., 2018)."""

    def __init__(self, config: CnnConfig, *, channels: int) -> None:
        super().__init__()
        activation = ACTIVATIONS[config.activation]
        self.branch = nn.Sequential(
            *_convolution(config, inputs=channels, outputs=channels, kernel_size=3),
            activation(),
            *_convolution(config, inputs=channels, outputs=channels, kernel_size=3),
        )
        self.weights = None
        if config.squeeze_excite is not None:
            squeezed = max(1, channels // config.squeeze_excite)
            self.weights = nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(channels, squeezed, 1),
                activation(),
                nn.Conv2d(squeezed, channels, 1),
                nn.Sigmoid(),
            )
        self.activation = activation()

    def forward(self, maps: Tensor) -> Tensor:
        branch = self.branch(maps)
        if self.weights is not None:
            branch = branch * self.weights(branch)
        result: Tensor = self.activation(maps + branch)
        return result


def initialize(model: nn.Module) -> None:
    """He et al. (2015) for convolutions and dense layers, zero biases; the output starts small.

    With PyTorch's default, a network of five blocks without batch norm hardly starts to learn.
    Residual blocks with batch norm begin without their branch (Goyal et al., 2017).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.normal_(last.weight, std=0.01)
    for module in model.modules():
        if isinstance(module, Residual) and isinstance(norm := module.branch[-1], nn.BatchNorm2d):
            nn.init.zeros_(norm.weight)


def _block(config: CnnConfig, *, inputs: int, outputs: int, kernel_size: int) -> list[nn.Module]:
    dropout = config.dropout if config.conv_dropout is None else config.conv_dropout
    return [
        *_convolution(config, inputs=inputs, outputs=outputs, kernel_size=kernel_size),
        ACTIVATIONS[config.activation](),
        nn.MaxPool2d(2),
        *(Residual(config, channels=outputs) for _ in range(config.residual_blocks)),
        *_dropout(dropout, nn.Dropout2d),
    ]


def _convolution(
    config: CnnConfig, *, inputs: int, outputs: int, kernel_size: int
) -> list[nn.Module]:
    """With its batch norm; that subtracts the mean, so a bias before it would do nothing."""
    bias, padding = not config.batch_norm, kernel_size // 2
    return [
        nn.Conv2d(inputs, outputs, kernel_size, padding=padding, bias=bias),
        *([nn.BatchNorm2d(outputs)] if config.batch_norm else []),
    ]


def _dropout(probability: float, kind: type[nn.Module]) -> list[nn.Module]:
    return [kind(probability)] if probability else []
