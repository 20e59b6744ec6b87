import pytest


@pytest.mark.parametrize("name", ["sweep", "train", "prepare", "evaluate"])
def test_help_has_an_example(told, name):
    code, text = told(name, "--help")
    assert code == 0
    assert f"python -m inat_ray.{name}" in text
    for option in ("--data", "--set", "--seed", "--out", "--overwrite", "--json", "--verbose"):
        assert option in text


@pytest.mark.parametrize("name", ["sweep", "train", "prepare"])
@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--set", "recipe.lr=-1"], "recipe.lr: -1"),
        (["--set", "recipe.lrr=1"], "did you mean 'lr'"),
        (["--set", "nonsense"], "KEY=VALUE"),
        (["--data", "does/not/exist"], "there is no such folder"),
        (["nowhere.yaml"], "no such experiment file"),
        (["--set", "data.image_size=16"], "data.image_size: 16"),
        (["--seed", "-1"], "--seed: seed: -1"),
        (["--unknown"], "--unknown"),
    ],
)
def test_a_mistake_ends_with_2_its_reason_and_nothing_made(
    told, name, args, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, text = told(name, *args)
    assert code == 2
    assert reason in " ".join(text.split())
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sweep", "train", "prepare"])
def test_a_run_that_exists_is_not_written_over(told, name, tmp_path):
    (tmp_path / "log").mkdir()
    code, text = told(name, "--out", tmp_path)
    assert code == 2
    assert "--overwrite" in text


def test_a_sweep_needs_something_to_vary(told, tmp_path):
    (tmp_path / "plain.yaml").write_text("recipe: {lr: 0.1}")
    code, text = told("sweep", tmp_path / "plain.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert "search.parameters" in text


def test_a_sweep_tells_a_faulty_parameter_with_its_file(told, tmp_path):
    path = tmp_path / "faulty.yaml"
    path.write_text("search: {parameters: {recipe.lr: {values: []}}}")
    code, text = told("sweep", path, "--out", tmp_path / "run")
    assert code == 2
    assert f"{path}: search.parameters.recipe.lr.values: the list is empty" in " ".join(
        text.split()
    )


def test_a_gpu_that_is_not_there_is_said_before_anything_starts(told, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, text = told("train", "--set", "device=cuda", "--out", tmp_path / "run")
    assert code == 2
    assert "sees no GPU" in text


def test_evaluate_names_a_model_that_is_not_there(told, tmp_path):
    code, text = told("evaluate", tmp_path / "none.safetensors")
    assert code == 2
    assert "no such model" in text
