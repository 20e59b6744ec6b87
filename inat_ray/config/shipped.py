"""The experiments that come with inat_ray, found by name from any folder."""

import re
from dataclasses import dataclass
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.config.yaml_reader import read_yaml

FOLDER = Path(__file__).parent / "experiments"
"""In a clone a link to the folder at the top of the repository; in a wheel the files themselves."""

QUICKSTART = Path("quickstart")

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
    """All of them, by name."""
    return [
        Shipped(path.stem, path, about=_first_sentence(path), needs=_needs(path))
        for path in _shipped_files()
    ]


def find_experiment(given: Path) -> Path:
    """The file that `given` is: its own path where there is one, else a shipped name.

    A shipped one is also found as the repository has it, `experiments/NAME.yaml`. What is neither
    is returned as it is, for its reader to refuse. Raises UserError for a bare name that is none.
    """
    if given.exists() and not (given.is_dir() and _shipped_file(given).exists()):
        return given
    if str(given.parent) in (".", "experiments") and _shipped_file(given).exists():
        return _shipped_file(given)
    if str(given) == given.stem:
        raise UserError(
            f"{given}: there is no such experiment file, and none of that name comes with"
            f" inat_ray: {_names()}"
        )
    return given


def copy_experiment(name: str, folder: Path) -> list[Path]:
    """Copies a shipped experiment into `folder`, with those that it extends and their schema.

    What is there already with the same content is left as it is. Raises UserError where there is
    no such experiment, or a file would be overwritten; nothing is copied then.
    """
    source = _shipped_file(Path(name))
    if not source.exists():
        raise UserError(f"{name}: no experiment of that name comes with inat_ray: {_names()}")
    first, *others = [*_with_parents(source), SCHEMA]
    files = [first, *(file for file in others if not _is_copied(file, folder))]
    copies = [folder / file.name for file in files]
    for copy in copies:
        if copy.exists():
            raise UserError(f"{copy}: is there already, and is not overwritten")
    for file, copy in zip(files, copies, strict=True):
        copy.write_bytes(file.read_bytes())
    return copies


def _shipped_file(given: Path) -> Path:
    return FOLDER / f"{given.name.removesuffix('.yaml')}.yaml"


def _names() -> str:
    return ", ".join(path.stem for path in _shipped_files())


def _shipped_files() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def _is_copied(file: Path, folder: Path) -> bool:
    copy = folder / file.name
    return copy.is_file() and copy.read_bytes() == file.read_bytes()


def _with_parents(path: Path) -> list[Path]:
    parent = read_yaml(path).get("extends")
    return [path] if parent is None else [path, *_with_parents(path.parent / parent)]


def _first_sentence(path: Path) -> str:
    """The comment's first sentence, after the commands at its top."""
    comment = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))
    lines = [line.removeprefix("#").strip() for line in comment[0].splitlines()] if comment else []
    words = " ".join(lines[lines.index("") + 1 :] if "" in lines else lines)
    return re.split(r"(?<=\.)\s", words)[0].rstrip(".")


def _needs(path: Path) -> str:
    trees = [read_yaml(file) for file in _with_parents(path)]
    if any(tree.get("data", {}).get("source") == "demo" for tree in trees):
        return "nothing"
    resnet = any(tree.get("model", {}).get("kind") == "resnet" for tree in trees)
    return "photographs, ImageNet weights" if resnet else "photographs"
