"""Weights in files of this machine, brought to where the other nodes of a run find them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from inat_ray.config.experiment import Experiment
from inat_ray.config.model import FreezableConfig
from inat_ray.config.overrides import texts_of_models
from inat_ray.config.search import SearchConfig
from inat_ray.run.folder import WEIGHTS, RunFolder
from inat_ray.storage.place import Place


def stored_weights(experiment: Experiment, *, run: RunFolder) -> dict[str, str]:
    """Copies all weights in files, with which a trial can begin, to the run's storage.

    Returns path -> address of the copy, for `with_weights_at`; nothing for a run without a storage.
    """
    if (storage := run.storage) is None:
        return {}
    tree = experiment.model_dump(mode="json", include={"model", "search"})
    named = {holder[key] for holder, key in texts_of_models(tree, "weights")}
    files = {text: path for text in named if (path := Path(text).expanduser()).is_file()}
    return {text: _copy(path, storage).address for text, path in files.items()}


def with_reachable_weights(experiment: Experiment, *, run: RunFolder) -> Experiment:
    """Returns the experiment of a single training for other nodes."""
    alone = experiment.model_copy(update={"search": SearchConfig()})
    return with_weights_at(experiment, stored_weights(alone, run=run))


def with_weights_at(experiment: Experiment, copies: Mapping[str, str]) -> Experiment:
    """Returns the experiment with the copy of its model's weights, if there is one."""
    model = experiment.model
    if not isinstance(model, FreezableConfig) or model.weights not in copies:
        return experiment
    there = model.model_copy(update={"weights": copies[model.weights]})
    return experiment.model_copy(update={"model": there})


def _copy(path: Path, storage: Place) -> Place:
    """A copy that is named by its content, so that it is made once."""
    content = path.read_bytes()
    copy = storage / WEIGHTS / f"{hashlib.sha256(content).hexdigest()[:16]}{path.suffix}"
    if not copy.exists():
        copy.write(content)
    return copy
