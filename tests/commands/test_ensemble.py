import json
import shutil

import pytest

VIEW = "recipe.flip_average=true"


@pytest.fixture(scope="module")
def models(save_untrained, tmp_path_factory):
    """Three of several seeds and widths, in runs of their own."""
    home = tmp_path_factory.mktemp("ensemble")
    changes = [["seed=0"], ["seed=1"], ["seed=2", "model.filters=[6, 6, 8, 8, 8]"]]
    return [
        save_untrained(home / f"run{i}" / "best.safetensors", VIEW, *change)
        for i, change in enumerate(changes)
    ]


@pytest.fixture(scope="module")
def joined(models):
    return models[0].parent / "joined.safetensors"


@pytest.fixture
def told_once(told, models, joined):
    """Makes the ensemble of the first two, once."""
    if not joined.exists():
        code, text = told("ensemble", models[0].parent, models[1], "--out", joined)
        assert code == 0, text
        assert "2 models" in text
    return told


def probabilities(told, model, images) -> list[dict[str, float]]:
    code, text = told("predict", model, images, "--json")
    assert code == 0, text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [{each["class"]: each["probability"] for each in line["top"]} for line in lines]


def test_its_probabilities_are_the_mean_of_its_members(told_once, models, joined, data_folder):
    images = data_folder / "val"
    first, second, mean = (probabilities(told_once, m, images) for m in (*models[:2], joined))
    assert len(mean) > 10
    for one, other, both in zip(first, second, mean, strict=True):
        assert both == pytest.approx({name: (one[name] + other[name]) / 2 for name in one})
    assert first != second


def test_an_ensemble_of_an_ensemble_weighs_every_network_alike(
    told_once, models, joined, data_folder, tmp_path
):
    all_three = tmp_path / "three.safetensors"
    code, text = told_once("ensemble", joined, models[2], "--out", all_three)
    assert code == 0, text
    images = data_folder / "val"
    *single, mean = (probabilities(told_once, m, images) for m in (*models, all_three))
    for *each, both in zip(*single, mean, strict=True):
        assert both == pytest.approx({n: sum(one[n] for one in each) / 3 for n in both})


def test_it_is_evaluated_and_exported_like_any_model(told_once, models, joined, tmp_path):
    sizes = {}
    for name, model in {"one": models[0], "both": joined}.items():
        code, text = told_once("evaluate", model, "--out", tmp_path / name, "--json")
        assert code == 0, text
        sizes[name] = json.loads(text.splitlines()[-1])
    for number in ("parameters", "macs"):
        assert sizes["both"][number] == 2 * sizes["one"][number]
    page = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    assert "The first of the 2 networks of this ensemble." in page
    file = tmp_path / "model.pt2"
    code, text = told_once("export", joined, "--format", "torch", "--out", file, "--json")
    assert code == 0, text
    assert json.loads(text.splitlines()[-1])["largest_difference"] <= 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("recipe.flip_average=false", "recipe.flip_average is False"),
        ("data.split_seed=7", "data.split_seed is 7"),
        ("data.image_size=40", "data.image_size is 40"),
    ],
)
def test_models_that_saw_other_images_are_refused(
    save_untrained, told, models, tmp_path, change, message
):
    other = save_untrained(tmp_path / "other.safetensors", VIEW, change)
    out = tmp_path / "joined.safetensors"
    code, text = told("ensemble", models[0], other, "--out", out)
    said = " ".join(text.split())
    assert (code, message in said, "other.safetensors" in said) == (2, True, True), text
    assert not out.exists()


def test_models_of_two_folders_are_joined_and_both_folders_named(
    save_untrained, told, models, data_folder, tmp_path
):
    """The photographs may have been moved; or these are others with the same classes."""
    shutil.copytree(data_folder, tmp_path / "moved")
    moved = save_untrained(tmp_path / "other.safetensors", VIEW, f"data.source={tmp_path}/moved")
    out = tmp_path / "joined.safetensors"
    code, text = told("ensemble", models[0], moved, "--out", out)
    said = " ".join(text.split())
    assert (code, out.exists()) == (0, True), text
    assert f"{tmp_path}/moved: if these are not the same photographs" in said.replace("- ", "-")


def test_a_mistake_ends_with_2_and_its_reason(told_once, models, joined, tmp_path):
    mistakes = {
        "two or more": [models[0], "--out", tmp_path / "x.safetensors"],
        "must end in .safetensors": [*models[:2], "--out", tmp_path / "x.pt"],
        "--overwrite replaces it": [*models[:2], "--out", joined],
        "there is no such model": [models[0], tmp_path / "nothing"],
    }
    for message, line in mistakes.items():
        code, text = told_once("ensemble", *line)
        assert (code, message in " ".join(text.split())) == (2, True), text
