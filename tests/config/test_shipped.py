from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.config.shipped import (
    QUICKSTART,
    copy_experiment,
    find_experiment,
    shipped_experiments,
)

REPOSITORY = Path(__file__).parents[2] / "experiments"


def test_every_experiment_of_the_repository_comes_along_and_says_what_it_is_in_a_line():
    found = {each.name: each for each in shipped_experiments()}
    assert set(found) == {path.stem for path in REPOSITORY.glob("*.yaml")}
    for each in found.values():
        assert 15 < len(each.about) < 75
        assert not each.about.startswith("python")
    assert found["quickstart"].needs == "nothing"
    assert found["cnn_best"].needs == "photographs"
    for name in ("resnet50_bayes", "backbones"):
        assert found[name].needs == "photographs, ImageNet weights"
    assert found["finetune_bayes"].needs == "photographs, ImageNet weights, timm"


@pytest.mark.parametrize("given", ["cnn_bayes", "cnn_bayes.yaml", "experiments/cnn_bayes.yaml"])
def test_a_shipped_experiment_is_found_by_name_from_any_folder(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    assert load_experiment(Path(given)).name == "cnn_bayes"


def test_a_file_of_ones_own_goes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart.yaml").write_text("name: mine")
    assert load_experiment(Path("quickstart.yaml")).name == "mine"


def test_a_folder_of_the_same_name_hides_no_shipped_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert load_experiment(QUICKSTART).name == "quickstart"


def test_a_bare_name_that_is_none_is_refused_with_those_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no such experiment file.*cnn_bayes, cnn_best"):
        find_experiment(Path("cnn_bays"))
    with pytest.raises(UserError, match="auto: is no file, but what a sweep chooses"):
        find_experiment(Path("auto"))


def test_a_copy_has_what_it_extends_beside_it(tmp_path, monkeypatch):
    copies = copy_experiment("resnet50_best", tmp_path)
    names = ["resnet50_best.yaml", "resnet50_freeze.yaml", "experiment.schema.json"]
    assert [path.name for path in copies] == names
    monkeypatch.chdir(tmp_path)
    own, shipped = (load_experiment(p) for p in (copies[0], REPOSITORY / "resnet50_best.yaml"))
    assert own == shipped
    assert [path.name for path in copy_experiment("resnet50_bayes", tmp_path)] == [
        "resnet50_bayes.yaml"
    ]


@pytest.mark.parametrize(
    "there", ["resnet50_best.yaml", "resnet50_freeze.yaml", "experiment.schema.json"]
)
def test_a_copy_overwrites_nothing(tmp_path, there):
    (tmp_path / there).write_text("name: mine")
    with pytest.raises(UserError, match="not overwritten"):
        copy_experiment("resnet50_best", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]


@pytest.mark.parametrize("name", ["nothing", "", "../pyproject"])
def test_what_does_not_come_along_cannot_be_copied(tmp_path, name):
    with pytest.raises(UserError, match="none of that name"):
        copy_experiment(name, tmp_path)


def test_the_code_of_an_experiments_own_network_comes_along(tmp_path):
    names = [path.name for path in copy_experiment("own_network", tmp_path)]
    assert names == ["own_network.yaml", "own_network.py", "experiment.schema.json"]
    code = (tmp_path / "own_network.py").read_bytes()
    assert code == (REPOSITORY / "own_network.py").read_bytes()
