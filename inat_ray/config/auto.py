"""Chooses an experiment by a few rules, from facts about the images, the machine and the time.

It is one of those that come with inat_ray, with other settings where the facts want them. The rules
stand as a table in docs/search.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from inat_ray.config.distributions import Tree
from inat_ray.config.model import wanted_size
from inat_ray.config.shipped import FOLDER

TAKEN = ("model.kind", "model.source", "model.backbone", "model.weights", "search.time")
"""Settings that a choice goes by and holds itself; it goes by `data` and `device`, too."""

SMALL = 64
"""Pictures whose shorter side has at most so many pixels are for a CNN, weights or not."""

COARSE = 100
"""With fewer validation images than so many, trials are compared by their loss: many would have the
same accuracy."""

TRAINING, EPOCH = 2.0, 0.1
"""Seconds that a training and each of its epochs take besides the work on images."""

FORWARD = 0.45
"""The share of a step of a half-frozen network that is its forward pass."""

PROCESSES = 5
"""Processes that start one after another: Ray's, the trials', the confirmation's, the winner's; to
end them and to draw the report takes about as long as one more."""

LEFT, LEAST_LEFT = 0.25, 100
"""Share of the validation images that the winner's training leaves, if it is so many: the others
train it."""

ROUNDS = 4
"""Trainings that have to fit one after another: of search, twice of confirmation, the winner's."""

MEMORY = 2.0
"""GB of memory for each trial on a CPU."""

SHARES, FEW = (1.0, 0.5, 0.25, 0.125), 500
"""Parts of the images, if the time is not enough for all of them; but not fewer than so many."""


@dataclass(frozen=True)
class ImageFacts:
    """What can be told of labeled images in seconds."""

    training: int
    """Images that train."""
    validation: int
    test: int
    is_split_off: bool
    """Whether the validation images are a part of those that are there to train."""
    classes: int
    smallest: int
    """Images of the smallest class."""
    side: int
    """Median of the shorter side, in pixels."""
    decoding: float
    """Seconds to decode all of them on one core."""


@dataclass(frozen=True)
class Facts(ImageFacts):
    """What the rules go by."""

    time: float
    """Seconds for all that is left to do."""
    start: float
    """Seconds of it that a process takes to start."""
    cores: int
    gpus: int
    memory: float
    """GB of the host's memory."""
    models: tuple[Mapping[str, str], ...] = ()
    """Pre-trained networks of one source whose weights can be had, as `model` sections, the
    fastest first."""
    is_asked: bool = False
    """Whether a person named the pre-trained network."""
    no_weights: str = ""
    """Why there are no weights."""
    seconds: float = 0.0
    """Seconds an image in a training step of what `reference` returns, on one GPU or all cores."""


@dataclass(frozen=True)
class Way:
    """A way to train that may be too slow for the time."""

    what: str
    tree: Tree
    rate: float
    """The learning rate for batches of `batch_size` images."""
    batch_size: int
    epochs: int
    needs: int
    """Trainings that have to fit into the time, or a later way is taken."""
    cost: float = 1.0
    """Time of a step, in that of the reference."""
    on_features: bool = False
    """Whether the network runs once for each image, before the first training."""
    steps: int = 250
    """Steps that a training has at least, by up to four times the epochs."""


@dataclass(frozen=True)
class Choice:
    """An experiment, and three sentences that say why."""

    tree: Tree
    why: tuple[str, str, str]


def takes_pretrained(facts: Facts) -> bool:
    """Returns whether a network is to begin with weights that know photographs."""
    return bool(facts.models) and (facts.is_asked or facts.side > SMALL)


def reference(facts: Facts) -> Tree:
    """Returns the experiment whose step is to be timed: the half-frozen network, or a small CNN.

    The steps of the one are proportional to its images, those of the other are not.
    """
    if takes_pretrained(facts):
        return _pretrained(facts) | {"recipe": {"batch_size": 16}}
    return _cnn("cnn_best", 64)


def choose(facts: Facts) -> Choice:
    """Returns the first way that the time is enough for, as an experiment.

    If it is enough for none, for fewer images; at last the fastest way, with the fewest of them.
    """
    ways = _pretrained_ways(facts) if takes_pretrained(facts) else _cnn_ways(facts)
    shares = [share for share in SHARES if share == 1 or facts.training * share >= FEW]
    for share in shares:
        fewer = replace(
            facts,
            training=round(facts.training * share),
            validation=round(facts.validation * share),
        )
        for way in ways:
            if _trainings(way, fewer) >= way.needs:
                return _choice(way, fewer, share=share)
    return _choice(ways[-1], fewer, share=share)


def _choice(way: Way, facts: Facts, *, share: float) -> Choice:
    trainings, batch = int(_trainings(way, facts)), _batch_size(way, facts)
    # By the square root of the batch, since the steps of these optimizers hold their size.
    rate = float(f"{way.rate * math.sqrt(batch / way.batch_size):.2g}")
    epochs = _epochs(way, facts)
    seconds = _for_trainings(way, facts)
    search = _search(facts, trainings, epochs=epochs, seconds=seconds)
    search["first"] = [{"recipe.lr": rate}]
    # Features would be made anew for other training images, which takes longer than it brings.
    if facts.is_split_off and not way.on_features and LEFT * facts.validation >= LEAST_LEFT:
        part = facts.validation / (facts.training + facts.validation)
        search["final_validation_fraction"] = float(f"{LEFT * part:.2g}")
    found = _with(
        way,
        recipe={"lr": rate, "batch_size": batch, "epochs": epochs},
        resources=_resources(way, facts, trainings),
        search=search,
    )
    if share < 1:
        found = _with(found, data={"share": share})
    why = (
        _why_model(facts),
        _why_way(way, facts, share=share),
        _why_search(search, facts, trainings),
    )
    return Choice(found.tree | {"name": "auto"}, why)


def _trainings(way: Way, facts: Facts) -> float:
    """Returns how many trainings the time is enough for, on all of the machine."""
    once, each = _costs(way, facts)
    return max(_for_trainings(way, facts) - once, 0.0) / each


def _costs(way: Way, facts: Facts) -> tuple[float, float]:
    """Returns the seconds before the first training, and of each."""
    step, seen = _seconds(way, facts)
    once, epoch = 0.0, facts.training * step + facts.validation * seen
    if way.on_features:
        once, epoch = (facts.training + facts.validation) * seen, 0.0
    return once, TRAINING + _epochs(way, facts) * (EPOCH + epoch)


def _seconds(way: Way, facts: Facts) -> tuple[float, float]:
    """Returns the seconds an image of a training step, and of a look at it and its mirror image."""
    step = way.cost * facts.seconds / max(1, facts.gpus)
    return step, 2 * FORWARD * step


def _for_trainings(way: Way, facts: Facts) -> float:
    return max(1.0, facts.time - _others(way, facts))


def _others(way: Way, facts: Facts) -> float:
    """Returns the seconds of what is not training."""
    _, seen = _seconds(way, facts)
    return PROCESSES * facts.start + facts.decoding / facts.cores + facts.test * seen


def _epochs(way: Way, facts: Facts) -> int:
    steps = max(1, facts.training // _batch_size(way, facts))
    return max(way.epochs, min(math.ceil(way.steps / steps), 4 * way.epochs))


def _batch_size(way: Way, facts: Facts) -> int:
    """Returns the batch, halved until an epoch has eight steps."""
    batch = way.batch_size
    while batch > 8 and facts.training / batch < 8:
        batch //= 2
    return batch


def _resources(way: Way, facts: Facts, trainings: int) -> Tree:
    """Shares out the cores so that trainings fit into the time one after another.

    Features are made by a single trial, for which the others wait.
    """
    if facts.gpus:
        return {}
    at_once = min(facts.cores, int(facts.memory / MEMORY), trainings // ROUNDS)
    return {"cpus_per_worker": facts.cores // max(1, 1 if way.on_features else at_once)}


def _search(facts: Facts, trainings: int, *, epochs: int, seconds: float) -> Tree:
    # More trials than the validation images can tell apart would choose the luckiest.
    trials = min(100, max(10, facts.validation // 5))
    early: Tree = {"kind": "none"}
    if trainings < 3 * trials:
        early = {"kind": "asha_promotion", "min_epochs": math.ceil(epochs / 3)}
    settings = {"trials": trials, "time": math.floor(seconds), "time_covers": "run"}
    settings |= {"method": "bayes", "early_stopping": early}
    if facts.validation < COARSE:
        settings["metric"] = {"name": "val_loss", "goal": "minimize"}
    if trainings >= 10:
        top, seeds = (5, 3) if trainings >= 30 else (3, 2)
        settings["confirm"] = {"top": top, "seeds": seeds}
    return settings


def _pretrained_ways(facts: Facts) -> list[Way]:
    def fine_tuning(*, epochs: int, needs: int, steps: int = 250) -> Way:
        what = "about half of its layers are fine-tuned"
        return Way(what, _pretrained(facts), 0.01, 64, epochs=epochs, needs=needs, steps=steps)

    ways = [fine_tuning(epochs=15, needs=24), fine_tuning(epochs=8, needs=4)]
    ways += [fine_tuning(epochs=4, needs=2, steps=125), _head_only(facts)]
    if len(facts.models) > 1:
        backbones = {"values": [model["backbone"] for model in facts.models]}
        several = _searching(fine_tuning(epochs=15, needs=60), {"model.backbone": backbones})
        ways.insert(0, several)
    return ways


def _head_only(facts: Facts) -> Way:
    what = "its output layer alone, on features that are kept"
    way = Way(what, _pretrained(facts), 3e-3, 64, 60, needs=10, on_features=True, steps=1000)
    freeze = {"freeze": {"strategy": "head_only"}}
    without = ["model.freeze.fraction", "recipe.backbone_lr_factor"]
    without += ["recipe.augmentation.crop_scale"]
    return _searching(
        _with(way, model=freeze, recipe={"augment": False}),
        dict.fromkeys(without) | {"recipe.lr": _log(5e-4, 3e-2)},
    )


def _pretrained(facts: Facts) -> Tree:
    parameters = {
        "model.backbone": None,
        "model.freeze.fraction": {"min": 0.3, "max": 0.8},
        "recipe.augmentation.mixup": None,
        "recipe.lr": _log(1e-3, 3e-2),
    }
    return {
        "extends": str(FOLDER / "finetune_bayes.yaml"),
        "model": {"kind": "pretrained", **facts.models[0]},
        "recipe": {"flip_average": True},
        "search": {"parameters": parameters},
    }


def _cnn_ways(facts: Facts) -> list[Way]:
    def cnn(name: str, side: int, *, epochs: int, cost: float, needs: int = 6) -> Way:
        return Way(name, _cnn(name, side), 6e-3, 32, epochs=epochs, needs=needs, cost=cost)

    ways = [
        cnn("cnn_plus", 128, epochs=60, cost=4.0),
        cnn("cnn_best", 128, epochs=30, cost=4.0),
        cnn("cnn_best", 64, epochs=30, cost=1.0),
        cnn("cnn_best", 64, epochs=10, cost=1.0),
        cnn("cnn_best", 32, epochs=30, cost=0.25),
        cnn("cnn_best", 32, epochs=10, cost=0.25, needs=3),
    ]
    return [way for way in ways if way.tree["data"]["image_size"] <= max(32, facts.side)]


def _cnn(name: str, side: int) -> Tree:
    parameters = {
        "recipe.lr": _log(1e-3, 2e-2),
        "recipe.weight_decay": _log(5e-3, 0.3),
        "recipe.augmentation.crop_scale": {"min": 0.2, "max": 0.9},
        "model.dropout": {"min": 0.0, "max": 0.4},
    }
    return {
        "extends": str(FOLDER / f"{name}.yaml"),
        "data": {"image_size": side},
        "search": {"parameters": parameters},
    }


def _with(way: Way, **sections: Tree) -> Way:
    """Returns the way with more settings in some sections of its experiment."""
    tree = way.tree
    more = {name: tree.get(name, {}) | settings for name, settings in sections.items()}
    return replace(way, tree=tree | more)


def _searching(way: Way, parameters: Tree) -> Way:
    """Returns the way with other parameters of the search; None takes one away."""
    return _with(way, search={"parameters": way.tree["search"]["parameters"] | parameters})


def _log(low: float, high: float) -> Tree:
    return {"distribution": "log_uniform_values", "min": low, "max": high}


def _why_model(facts: Facts) -> str:
    images = (
        f"{facts.classes} classes of images of {facts.side} px, {facts.smallest} in the smallest"
        " class: "
    )
    if takes_pretrained(facts):
        return f"{images}{facts.models[0]['backbone']} begins with weights that know photographs"
    if facts.side <= SMALL:
        return f"{images}such small ones are learned from scratch"
    return f"{images}learned from scratch, as there are no weights: {facts.no_weights}"


def _why_way(way: Way, facts: Facts, *, share: float) -> str:
    tree, count = way.tree, facts.gpus or facts.cores
    side = tree.get("data", {}).get("image_size") or wanted_size(tree["model"])
    machine = f"{count} {'GPU' if facts.gpus else 'core'}{'s' if count > 1 else ''}"
    part = f" with a share of {share:.2g} of the images" if share < 1 else ""
    epochs = f"{_epochs(way, facts)} epochs of {facts.training:,} images{part}"
    what, needs = f"{way.what} at {side} px, {epochs}", f"{way.needs} times"
    if _trainings(way, facts) >= way.needs:
        return f"{what}: the first way that can be trained {needs} in the time on {machine}"
    once, each = _costs(way, facts)
    needed = _others(way, facts) + once + way.needs * each
    return (
        f"{what}: the fastest way, and yet the time is too short: training it {needs}, and all that"
        f" goes with it, takes about {_time(needed)} on {machine}, of which there are"
        f" {_time(max(0.0, facts.time))}"
    )


def _why_search(search: Tree, facts: Facts, trainings: int) -> str:
    if trainings < 2:
        return "there is hardly time for one: the first trial has the recipe as it comes"
    confirm, trials = search.get("confirm"), f"{search['trials']} trials"
    if trainings >= search["trials"]:
        trials += f", as more would choose by luck between {facts.validation:,} validation images,"
    else:
        trials += " at most, as fit"
    again = "there is no time for other seeds"
    if confirm:
        again = f"the best {confirm['top']} are trained with other seeds, too"
    more = ""
    if "final_validation_fraction" in search:
        more = "; the winner trains on three quarters of the validation images, too"
    return f"{trials} in {_time(search['time'])} with all that follows; {again}{more}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
