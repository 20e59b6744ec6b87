"""The direction of imports, read from the source itself.

optimizers <- config <- storage <- log <- search; config, storage <- data, models <- training;
all of these <- run <- tuning <- terminal <- page <- boards <- commands

One exception: the names of searchers and schedulers that an experiment may give are those of the
lists in search/, so that a new one is written in one file. These two files load no room in turn.
"""

import ast
from importlib.util import resolve_name
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "inat_ray"

LEVELS = {
    "optimizers": 0,
    "config": 1,
    "storage": 2,
    "log": 3,
    "data": 3,
    "models": 3,
    "search": 4,
    "training": 4,
    "run": 5,
    "tuning": 6,
    "terminal": 7,
    "page": 8,
    "boards": 9,
    "commands": 10,
}
"""A room may import itself and rooms of lower levels. `commands`: the files at the top."""

LISTS = ("search/searchers.py", "search/schedulers.py")

RAY_IS_AT_HOME = ("tuning/", "training/worker_group.py")


def violations(package: Path) -> list[str]:
    """'file:line: what is wrong' for each import of `package` that goes against the rules."""
    return [
        f"{file.relative_to(package).as_posix()}:{line}: {wrong}"
        for file in sorted(package.rglob("*.py"))
        for line, imported in imports_of(file, package)
        if (wrong := objection(file.relative_to(package).as_posix(), imported, package.name))
    ]


def imports_of(file: Path, package: Path) -> list[tuple[int, str]]:
    """(line, full dotted name) of every import, those inside functions too."""
    parent = ".".join(file.relative_to(package.parent).parent.parts)
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), parent)
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


def objection(file: str, imported: str, package: str) -> str | None:
    """What is wrong with `file` (relative to the package) importing a name; None if nothing."""
    top, *rest = imported.split(".")
    if top == "ray" and not file.startswith(RAY_IS_AT_HOME):
        return f"imports {imported}; Ray belongs in {' and '.join(RAY_IS_AT_HOME)}"
    if top != package or not rest or rest == ["__version__"]:
        return None
    if file == "config/search.py" and f"{rest[0]}/{rest[1]}.py" in LISTS:
        return None
    here, there = room(file.partition("/")[0]), room(rest[0])
    if here == there or LEVELS[there] < LEVELS[here]:
        return None
    return f"imports {imported}: {here} may not know {there}"


def room(name: str) -> str:
    return name if name in LEVELS else "commands"


def test_imports_go_one_way_and_ray_stays_in_its_rooms():
    assert violations(PACKAGE) == []


def test_every_folder_of_the_package_is_a_room_with_a_level():
    folders = {file.parent.name for file in PACKAGE.glob("*/*.py")}
    assert folders == set(LEVELS) - {"commands"}


@pytest.mark.parametrize("file", LISTS)
def test_the_lists_that_config_takes_names_from_load_no_other_room(file):
    source = (PACKAGE / file).read_text(encoding="utf-8")
    at_once = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in at_once if "inat_ray" in str(node.module)]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("optimizers/a.py", "from inat_ray.config.experiment import RecipeConfig"),
        ("config/a.py", "import inat_ray.data.pack"),
        ("config/search.py", "from inat_ray.search.tpe import fitted"),
        ("config/a.py", "from inat_ray.search.searchers import SEARCHERS"),
        ("data/a.py", "from inat_ray.models.cnn import build_cnn"),
        ("models/a.py", "from inat_ray.data import pack"),
        ("data/a.py", "from inat_ray.log.run_log import RunLog"),
        ("training/a.py", "from ..tuning import trial"),
        ("search/a.py", "from inat_ray.training.fit import Fit"),
        ("search/a.py", "from ray import tune"),
        ("storage/a.py", "from inat_ray.log.run_log import RunLog"),
        ("tuning/a.py", "from inat_ray import page"),
        ("tuning/a.py", "def f():\n    from inat_ray.boards.parquet import write_tables"),
        ("page/a.py", "from inat_ray.sweep import main"),
        ("page/a.py", "from inat_ray import options"),
        ("page/a.py", "import numpy, inat_ray.options"),
        ("training/fit.py", "import ray"),
        ("training/fit.py", "from ray.train import report"),
        ("page/a.py", "from ray import tune"),
        ("sweep.py", "def main():\n    import ray.tune"),
    ],
)
def test_an_import_against_the_rules_is_found(tmp_path, file, line):
    found = violations(made_up_package(tmp_path, file, line))
    assert len(found) == 1
    assert found[0].startswith(f"{file}:{line.count(chr(10)) + 1}: imports ")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("data/a.py", "from inat_ray.config.errors import UserError"),
        ("data/a.py", "from . import pack"),
        ("config/search.py", "from inat_ray.search.searchers import SEARCHERS"),
        ("tuning/a.py", "from ray import tune"),
        ("training/worker_group.py", "import ray.train"),
        ("page/a.py", "import rays, inat_ray_extras.sweep"),
        ("sweep.py", "from inat_ray import options"),
        ("sweep.py", "import inat_ray.tuning.ray_tune"),
    ],
)
def test_an_import_within_the_rules_is_let_pass(tmp_path, file, line):
    assert violations(made_up_package(tmp_path, file, line)) == []


def made_up_package(folder: Path, file: str, source: str) -> Path:
    path = folder / "inat_ray" / file
    path.parent.mkdir(parents=True)
    path.write_text(source + "\n", encoding="utf-8")
    return folder / "inat_ray"
