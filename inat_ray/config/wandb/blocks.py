"""Parameters of a W&B sweep about the CNN's five blocks, which are lists of five here.

People say the filters of the first block and how they change from block to block, or give each
block a parameter of its own: `conv1_filters`, `kernel_size_3`.
"""

import re
from collections.abc import Mapping

from inat_ray.config.distributions import JSON, Tree
from inat_ray.config.wandb.choices import NotHadError, combined, listed, read_values, weighed
from inat_ray.config.wandb.distributions import drawn
from inat_ray.config.wandb.names import FACTORS, FILTERS, KERNELS, OF_A_BLOCK
from inat_ray.config.wandb.values import five, number, plain, whole

BLOCKS = 5

COUNTED = {FILTERS: "filters", KERNELS: "kernel sizes"}


def numbered(words: str) -> tuple[str, int] | None:
    """Returns a plain name without its number, and the number: ('filters', 1) of conv1filters."""
    found = re.fullmatch(r"([a-z]*)([0-9]+)([a-z]*)", words.replace("conv2d", "conv"))
    if found is None:
        return None
    stem = re.sub(r"conv(olution)?|layer|block|stage|l$", "", found[1]) + found[3]
    return re.sub(r"^(layer|block)", "", stem) or found[1], int(found[2])


def block_of(words: str) -> tuple[str, int] | None:
    """Returns the setting that a plain name is about, for one of the blocks, and the block."""
    stem, number_ = numbered(words) or ("", 0)
    return (OF_A_BLOCK[stem], number_) if stem in OF_A_BLOCK else None


def of_each_block(setting: str, specs: Mapping[int, Tree]) -> Tree:
    """Returns a parameter of lists of five, from a parameter for each block, by its number.

    Raises ValueError where a block has none, or there are too many combinations.
    """
    if sorted(specs) not in ([*range(BLOCKS)], [*range(1, BLOCKS + 1)]):
        given = ", ".join(map(str, sorted(specs)))
        raise ValueError(
            f"the CNN has five blocks, and the {COUNTED[setting]} are those of {given}"
        )
    parts = [read_values(listed(drawn(specs[block])), whole) for block in sorted(specs)]
    return weighed(combined(parts, lambda *sizes: [*sizes]))


def of_first_and_shape(counts: Tree, shape: Tree | None) -> Tree:
    """Returns a parameter of lists of five, from the filters of the first and how they change.

    Raises NotHadError or ValueError where they do not say it.
    """
    first = listed(drawn(counts))
    if shape is None:
        return weighed(read_values(first, five))
    return weighed(combined([first, listed(drawn(shape))], _filters))


def _filters(count: JSON, shape: JSON) -> list[int]:
    """Returns the filters of five blocks, each a multiple of those of the block before it."""
    try:
        factor = FACTORS[plain(shape)] if plain(shape) in FACTORS else float(number(shape))
        return [max(1, round(number(count) * factor**block)) for block in range(BLOCKS)]
    except (ValueError, TypeError):
        raise NotHadError(shape if not isinstance(count, list) else count) from None
