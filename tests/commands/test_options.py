import socket
import subprocess
import sys

import pytest

from inat_ray import options


@pytest.mark.parametrize("name", ["sweep", "train", "prepare", "evaluate"])
def test_help_has_an_example(told, name):
    code, text = told(name, "--help")
    assert code == 0
    assert f"inat-ray {name}" in text
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


@pytest.mark.parametrize("name", ["sweep", "train"])
def test_a_tracker_that_there_is_not_is_refused_with_those_there_are(told, name, tmp_path):
    code, text = told(name, "--track", "nonsense", "--out", tmp_path / "run")
    assert code == 2
    assert "--track: tracking.to[0]: 'nonsense': should be 'wandb' or 'mlflow'" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("others", [["--seed", "1"], ["--set", "seed=1"], ["cnn_best"]])
def test_a_resumed_training_keeps_its_own_experiment(told, others, tmp_path):
    code, text = told("train", "--resume", tmp_path, *others)
    assert (code, "goes on with the run's own experiment" in text) == (2, True)


@pytest.mark.parametrize("name", ["sweep", "train", "prepare"])
def test_a_run_that_exists_is_not_written_over(told, name, tmp_path):
    (tmp_path / "experiment.yaml").touch()
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
    assert "sees no such GPU" in text


def test_evaluate_names_a_model_that_is_not_there(told, tmp_path):
    code, text = told("evaluate", tmp_path / "none.safetensors")
    assert code == 2
    assert "no such model" in text


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--storage-path", "ftp://host/runs"], "storage_path: ftp://host/runs: cannot be used"),
        (["--storage-path", "s3://KEY:SECRET@bucket/runs"], "belong into the environment"),
        (["--storage-path", "s3://bucket/runs?secret_key=SECRET"], "belong into the environment"),
        (["--storage-path", "s3://no-such-bucket/runs"], "cannot be written to"),
        (["--storage-path", "/proc/runs"], "cannot be written to"),
    ],
)
@pytest.mark.parametrize("name", ["sweep", "train"])
def test_a_storage_that_cannot_be_used_is_told_before_anything_starts(
    told, name, args, reason, tmp_path, monkeypatch, running_store
):
    monkeypatch.chdir(tmp_path)
    code, text = told(name, *args)
    assert code == 2
    assert reason in " ".join(text.split())
    assert "SECRET" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "nothing answers there"),
        ("ray://127.0.0.1:10001", "auto or HOST:PORT is allowed"),
        ("head", "auto or HOST:PORT is allowed"),
    ],
)
def test_a_cluster_that_is_not_there_is_told_at_once(told, address, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = told("sweep", "--address", address)
    assert code == 2
    assert f"--address {address}" in " ".join(text.split())
    assert reason in " ".join(text.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sweep", "train"])
def test_the_environment_may_name_the_storage_and_the_run_says_so(
    told, name, tmp_path, monkeypatch
):
    monkeypatch.setenv("INAT_RAY_STORAGE_PATH", "ftp://host/runs")
    code, text = told(name, "--out", tmp_path / "run")
    assert code == 2
    assert "ftp://host/runs: cannot be used" in " ".join(text.split())


def test_a_run_that_is_in_no_storage_is_told(told, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = told("sweep", "--resume", f"{bucket}/runs/gone")
    assert code == 2
    assert "/runs/gone: holds no run" in text.replace("\n", "")


def test_the_help_fills_the_terminals_lines_and_not_those_of_the_source(told, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    code, text = told("evaluate", "--help")
    assert code == 0
    [paragraph] = (line for line in text.splitlines() if "The run folder gets" in line)
    assert "unless --data or --set change them." in paragraph


@pytest.mark.parametrize("name", ["sweep", "train"])
def test_a_port_that_is_taken_ends_with_2_before_anything_is_made(
    told, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, text = told(name, "--tensorboard-port", taken.getsockname()[1])
    assert code == 2
    assert "--tensorboard-port: " in text
    assert "address already in use" in " ".join(text.split())
    assert list(tmp_path.iterdir()) == []


def test_a_command_ends_at_once_and_still_closes_what_it_opened():
    script = (
        "import atexit, sys\nfrom inat_ray import options\n"
        "class Slow:\n    def __del__(self): print('taken apart')\n"
        "sys.slow = Slow()\natexit.register(print, 'closed')\noptions.run(lambda: print('said'))"
    )
    line = [sys.executable, "-c", script]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["said", "closed"])


def test_what_is_loaded_for_seconds_is_named_once(capsys):
    for module in ("sys", "not_yet_there"):
        with options.loading("sys", module):
            pass
    assert capsys.readouterr().err == "loading not_yet_there\n"
