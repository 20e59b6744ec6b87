"""The experiments that come with inat_ray, found by name from any folder."""

import re
from dataclasses import dataclass
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.yaml_reader import read_yaml

FOLDER = Path(__file__).parent / "experiments"
"""In a clone, a link to the folder at the top of the repository; in a wheel, the files."""

QUICKSTART = Path("quickstart")

AUTO = "auto"
"""The name of the experiment that is no file: a sweep chooses it for some images."""

SCHEMA = FOLDER / "experiment.schema.json"
"""Named in the first line of each experiment, relative to it, so that editors can check it."""


@dataclass(frozen=True)
class Shipped:
    """An experiment that comes with inat_ray."""

    name: str
    path: Path
    about: str
    """The first sentence of the file's own comment."""
    needs: str
    """What it runs on: photographs or drawn pictures, and pre-trained weights."""


def shipped_experiments() -> list[Shipped]:
    """Returns all of them, sorted by name."""
    return [
        Shipped(name, path, about=_first_sentence(path), needs=_needs(path))
        for name, path in _files().items()
    ]


def find_experiment(given: Path) -> Path:
    """Returns the file that `given` names: a path if it exists, else a shipped experiment.

    Those are found as `experiments/NAME.yaml`, too, which is where the repository has them. Another
    path is returned as it is, for its reader to refuse. Raises UserError for an unknown name.
    """
    shipped = _files().get(given.name.removesuffix(".yaml"))
    if given.exists() and not (given.is_dir() and shipped):
        return given
    if shipped and str(given.parent) in (".", "experiments"):
        return shipped
    if str(given) == given.stem:
        raise _unknown(str(given))
    return given


def copy_experiment(name: str, folder: Path) -> list[Path]:
    """Copies a shipped experiment into `folder`, with those that it extends and their schema.

    The code of a network of one's own comes along, and copies of those that are there already stay.
    Raises UserError where there is no such experiment, or a file would be overwritten; nothing is
    copied then.
    """
    source = _files().get(Path(name).name.removesuffix(".yaml"))
    if source is None:
        raise _unknown(name)
    first, *others = [*_with_parents(source), *_code(source), SCHEMA]
    copies = {folder / file.name: file.read_bytes() for file in (first, *others)}
    for file in others:
        copy = folder / file.name
        if copy.is_file() and copy.read_bytes() == copies[copy]:
            del copies[copy]
    for copy in copies:
        if copy.exists():
            raise UserError(f"{copy}: is there already, and is not overwritten")
    for copy, content in copies.items():
        copy.write_bytes(content)
    return [*copies]


def _unknown(name: str) -> UserError:
    if name == AUTO:
        return UserError(
            "auto: is no file, but what a sweep chooses for some images: `inat-ray sweep auto"
            " --data D --save-experiment FILE` writes it, and a run has its own"
        )
    return UserError(
        f"{name}: there is no such experiment file, and none of that name comes with inat_ray:"
        f" {', '.join(_files())}"
    )


def _files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def _with_parents(path: Path) -> list[Path]:
    parent = read_yaml(path).get("extends")
    return [path] if parent is None else [path, *_with_parents(path.parent / parent)]


def _code(path: Path) -> list[Path]:
    model = read_yaml(path).get("model", {})
    place = model.get("target", "").rpartition(":")[0]
    return [path.parent / place] if place else []


def _first_sentence(path: Path) -> str:
    """Returns the first sentence of the file's comment, after the lines of commands at its top."""
    comment = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    lines = [line.removeprefix("#").strip() for line in comment[0].splitlines()] if comment else []
    words = " ".join(lines[lines.index("") + 1 :] if "" in lines else lines)
    return re.split(r"(?<=\.)\s", words)[0].rstrip(".")


def _needs(path: Path) -> str:
    trees = [read_yaml(file) for file in _with_parents(path)]
    if any(tree.get("data", {}).get("source") == "demo" for tree in trees):
        return "nothing"
    models = [tree.get("model", {}) for tree in trees]
    pretrained = any(model.get("kind") in ("pretrained", "resnet") for model in models)
    timm = any(model.get("source") == "timm" for model in models)
    return "photographs" + ", ImageNet weights" * pretrained + ", timm" * timm
