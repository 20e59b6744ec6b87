"""The 5-block CNN from scratch."""

from torch import nn

from inat_ray.config.experiment import CONV_BLOCKS, CnnConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
}


def build_cnn(config: CnnConfig, *, classes: int, image_size: int) -> nn.Sequential:
    """Images (n, 3, image_size, image_size) to logits (n, classes).

    Five blocks of convolution, batch norm, activation, max pool and dropout; a dense layer
    with batch norm, activation and dropout; the output layer. Pools round down.
    """
    conv_dropout = config.dropout if config.conv_dropout is None else config.conv_dropout
    channels = [3, *config.filters]
    blocks = [
        _block(config, inputs=channels[i], outputs=channels[i + 1], kernel_size=size)
        + _dropout(conv_dropout, nn.Dropout2d)
        for i, size in enumerate(config.kernel_sizes)
    ]
    side = image_size >> CONV_BLOCKS
    dense = [
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


def initialize(model: nn.Module) -> None:
    """He et al. (2015) for convolutions and dense layers, zero biases; the output starts small.

    With PyTorch's default, a network of five blocks without batch norm hardly starts to learn.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.normal_(last.weight, std=0.01)


def _block(config: CnnConfig, *, inputs: int, outputs: int, kernel_size: int) -> list[nn.Module]:
    return [
        # Batch norm subtracts the mean, so a bias before it would do nothing.
        nn.Conv2d(
            inputs, outputs, kernel_size, padding=kernel_size // 2, bias=not config.batch_norm
        ),
        *([nn.BatchNorm2d(outputs)] if config.batch_norm else []),
        ACTIVATIONS[config.activation](),
        nn.MaxPool2d(2),
    ]


def _dropout(probability: float, kind: type[nn.Module]) -> list[nn.Module]:
    return [kind(probability)] if probability else []
