"""The tables of names.yaml: each by the names that people use, as `plain` writes them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from inat_ray.config.distributions import JSON
from inat_ray.config.wandb import values as read
from inat_ray.config.wandb.values import words
from inat_ray.config.yaml_reader import read_yaml

BACKBONE, FREEZE = "model.backbone", "model.freeze"

FILTERS, KERNELS = "model.filters", "model.kernel_sizes"

SCHEDULE, WARMUP = "recipe.schedule", "recipe.warmup_fraction"


class Kind(NamedTuple):
    """What a setting's values are."""

    read: Callable[[JSON], JSON]
    """From a value as people write it to the setting's own; raises ValueError, KeyError or
    TypeError at one that it does not have."""
    allowed: str = ""
    """The values that it takes, in words."""
    has_ranges: bool = False
    """Whether a range of numbers is one of the setting, too."""


KINDS = {
    "number": Kind(read.number, "numbers", has_ranges=True),
    "side": Kind(read.side, "numbers", has_ranges=True),
    "as it is": Kind(read.as_it_is, has_ranges=True),
    "percent": Kind(read.percent, "percents"),
    "truth": Kind(read.yes, "true or false"),
    "augments": Kind(read.augments, "true or false"),
    "five": Kind(read.five, "an odd size, or a list of five"),
}


@dataclass(frozen=True)
class Known:
    """A setting under the names that people have for it."""

    setting: str
    kind: Kind
    names: str = ""
    also: Mapping[str, JSON] = field(default_factory=dict)
    """What stands beside it in an experiment, so that it has a meaning."""
    note: str = ""


def _by_name(table: Mapping[str, str]) -> dict[str, str]:
    return {name: key for key, names in table.items() for name in words(names)}


def _known(settings: Mapping[str, Any]) -> Iterator[Known]:
    """Yields the settings; one that is said in two ways is there twice."""
    for setting, entries in settings.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            known: dict[str, Any] = {"names": entry} if isinstance(entry, str) else {**entry}
            kind = KINDS[known.pop("kind", "number")]
            if values := known.pop("values", None):
                kind = Kind((read.freezing if setting == FREEZE else read.choice)(values))
            yield Known(setting, kind._replace(allowed=known.pop("allowed", kind.allowed)), **known)


_TABLES = read_yaml(Path(__file__).with_name("names.yaml"))

KNOWN = [*_known(_TABLES["settings"])]

SETTINGS = {name: known for known in KNOWN for name in words(known.names)}

NUM_FILTERS = words(_TABLES["filters"])

ORGANISATION = words(_TABLES["changes"])

FACTORS = {name: float(factor) for name, factor in _by_name(_TABLES["factors"]).items()}

OF_A_BLOCK = {
    **dict.fromkeys(NUM_FILTERS | words(_TABLES["filters of a block"]), FILTERS),
    **{name: KERNELS for name, known in SETTINGS.items() if known.setting == KERNELS},
}
"""Settings of the blocks by the names of one block's, without its number."""

SHARES = {name: tuple(both.split()) for name, both in _by_name(_TABLES["shares"]).items()}

NO_WARMUP, CONSTANT, NO_NETWORK, GROUPS, ERRORS = (
    words(_TABLES[key])
    for key in ("schedules without warm-up", "constant schedules", "the cnn", "groups", "errors")
)

DENSE = {name for name, known in SETTINGS.items() if known.setting == "model.dense"}

NOT_NEEDED = _by_name(_TABLES["not needed"])

ALREADY_SO = {
    name: (words(entry["values"]), reason)
    for reason, entry in _TABLES["already so"].items()
    for name in words(entry["names"])
}
"""Parameters of which one value alone can be had -> (that value's names, why)."""

NO_COUNTERPART = _by_name(_TABLES["no counterpart"])

METRICS_THERE = _by_name(_TABLES["metrics"])

DROPPED_KEYS = {
    key: reason for reason, keys in _TABLES["dropped keys"].items() for key in keys.split()
}
