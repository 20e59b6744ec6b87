"""The wheel, built and used from elsewhere: by nobody's clone and without a network."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import inat_ray
from inat_ray.config.shipped import shipped_experiments

REPOSITORY = Path(__file__).parents[1]

NEEDED = ("experiments", "pyproject.toml", "README.md", "LICENSE")
"""What a wheel is built of besides the package."""

pytestmark = pytest.mark.slow

TINY = {
    "model.filters": "[4, 4, 8, 8, 8]",
    "model.dense": "8",
    "recipe.epochs": "1",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def inat_ray_command(tmp_path_factory) -> Path:
    """`inat-ray` of an environment with the wheel, and this one's packages behind it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "inat_ray", *NEEDED],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    source.mkdir()
    copy = ["cp", "--parents", "--no-dereference", *filter(None, tracked), str(source)]
    subprocess.run(copy, cwd=REPOSITORY, check=True)
    build = "from setuptools import build_meta as b; import sys; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True
    )
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    bin_folder = folder / "venv" / "bin"
    # Packages behind it, but no editable inat_ray: a .pth of the outer environment is not read.
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    subprocess.run(
        [str(Path(sys.executable).parent / "uv"), "pip", "install", "--offline", "--no-deps",
         "--python", str(bin_folder / "python"), str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    outer = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "behind.pth").write_text(f"import sys; sys.path.append({outer!r})\n")
    return bin_folder / "inat-ray"


def used(command: Path, *args: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """The command as a user would call it, in a folder of their own."""
    others = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    return subprocess.run(
        [str(command), *args],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_it_tells_its_version(inat_ray_command, tmp_path):
    done = used(inat_ray_command, "--version", cwd=tmp_path)
    assert done.stdout == f"inat_ray {inat_ray.__version__}\n", done.stderr


def test_it_is_the_wheel_that_is_used(inat_ray_command, tmp_path):
    python = inat_ray_command.with_name("python")
    done = used(python, "-c", "import inat_ray; print(inat_ray.__file__)", cwd=tmp_path)
    assert Path(done.stdout).is_relative_to(inat_ray_command.parents[1]), done.stderr


def test_all_experiments_are_in_it(inat_ray_command, tmp_path):
    done = used(inat_ray_command, "experiments", "--json", cwd=tmp_path)
    for each in shipped_experiments():
        assert f'"name": "{each.name}"' in done.stdout


def test_a_copied_experiment_is_read_where_it_was_copied_to(inat_ray_command, tmp_path):
    used(inat_ray_command, "experiments", "--copy", "cnn_plus", cwd=tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cnn_best.yaml", "cnn_origin.yaml", "cnn_plus.yaml", "experiment.schema.json"]
    done = used(inat_ray_command, "prepare", "cnn_plus.yaml", "--data", "nowhere", cwd=tmp_path)
    assert "nowhere" in done.stderr
    assert done.returncode == 2


def test_the_code_of_an_experiments_own_network_is_in_it(inat_ray_command, tmp_path):
    done = used(inat_ray_command, "experiments", "--copy", "own_network", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "class TinyNet" in (tmp_path / "own_network.py").read_text()


def test_a_sweep_by_name_comes_to_its_end(inat_ray_command, tmp_path):
    settings = [arg for item in TINY.items() for arg in ("--set", "=".join(item))]
    line = ["sweep", "quickstart", "--trials", "2", "--set", f"data.cache={tmp_path}/packs"]
    done = used(inat_ray_command, *line, "--out", "run", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.safetensors").exists()
