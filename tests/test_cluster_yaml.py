"""cluster.yaml, by Ray's own reading of it: what it may cost, what it opens, what it sends."""

import json
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
FILE = ROOT / "cluster.yaml"


@pytest.fixture
def written() -> dict[str, Any]:
    """The file as it stands."""
    config: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return config


@pytest.fixture
def cluster(written: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of the file before it asks AWS: with Ray's defaults, and validated."""
    config: dict[str, Any] = prepare_config(written)
    validate_config(config)
    return config


@pytest.fixture
def workers(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """The node types that are not the head's."""
    types = cluster["available_node_types"]
    return [types[name] for name in types if name != cluster["head_node_type"]]


def commands(cluster: dict[str, Any]) -> list[str]:
    """Every command that any node runs."""
    return [
        command for key, lines in cluster.items() if key.endswith("_commands") for command in lines
    ]


def test_ray_refuses_a_setting_that_it_does_not_know(written: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepare_config({**written, "idle_timeout": 10}))


def test_there_are_no_workers_until_trials_wait_and_never_more_than_the_bound(
    cluster: dict[str, Any], workers: list[dict[str, Any]]
) -> None:
    assert workers
    for worker in workers:
        assert worker["min_workers"] == 0
        assert 1 <= worker["max_workers"] <= 16
    assert 1 <= cluster["max_workers"] <= 16
    assert 0 < cluster["idle_timeout_minutes"] <= 30


def test_workers_are_spot_and_the_head_is_not(
    cluster: dict[str, Any], workers: list[dict[str, Any]]
) -> None:
    for worker in workers:
        assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert "InstanceMarketOptions" not in head["node_config"]


def test_the_head_takes_no_trial(cluster: dict[str, Any]) -> None:
    head = cluster["available_node_types"][cluster["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert not re.match(r"(g|p)\d", head["node_config"]["InstanceType"])


def test_nothing_that_costs_money_outlives_a_node(cluster: dict[str, Any]) -> None:
    assert cluster["provider"]["cache_stopped_nodes"] is False
    for node in cluster["available_node_types"].values():
        (disk,) = node["node_config"]["BlockDeviceMappings"]
        assert disk["DeviceName"] == "/dev/sda1"
        assert disk["Ebs"]["DeleteOnTermination"] is True
        assert disk["Ebs"]["VolumeSize"] >= 100


def test_only_rays_own_security_group_which_admits_ssh_guards_the_nodes(
    cluster: dict[str, Any],
) -> None:
    assert "security_group" not in cluster["provider"]
    for node in cluster["available_node_types"].values():
        opening = {"SecurityGroupIds", "SecurityGroups", "NetworkInterfaces", "LaunchTemplate"}
        assert not opening & set(node["node_config"])


def test_the_dashboard_and_every_server_listen_on_loopback_alone(cluster: dict[str, Any]) -> None:
    (start,) = [line for line in cluster["head_start_ray_commands"] if "--head" in line]
    assert start.split().count("--dashboard-host=127.0.0.1") == 1
    assert start.count("--dashboard-host") == 1
    assert "0.0.0.0" not in FILE.read_text(encoding="utf-8")  # as a value or in advice


def test_the_head_starts_workers_by_the_configuration_that_ray_up_sends(
    cluster: dict[str, Any],
) -> None:
    (start,) = [line for line in cluster["head_start_ray_commands"] if "--head" in line]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start.split()
    (join,) = [line for line in cluster["worker_start_ray_commands"] if "ray start" in line]
    assert "--address=$RAY_HEAD_IP:6379" in join.split()
    assert "--port=6379" in start.split()


def test_requirements_txt_alone_says_which_ray_is_installed(cluster: dict[str, Any]) -> None:
    lines = commands(cluster)
    assert not [line for line in lines if re.search(r"\bray\s*(\[|==|>=|@)|ray-wheels", line)]
    for name in ("head_setup_commands", "worker_setup_commands"):
        setup = cluster[name]
        (pinned,) = [i for i, line in enumerate(setup) if "--requirement requirements.txt" in line]
        (own,) = [i for i, line in enumerate(setup) if line.endswith("--no-deps --editable .")]
        assert pinned < own
    assert re.search(r"^ray==[\d.]+$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)


def test_no_command_of_rays_defaults_is_left(cluster: dict[str, Any]) -> None:
    # They install another Ray, and boto3 into whatever pip comes first.
    assert not [line for line in commands(cluster) if "anaconda" in line or "which ray" in line]
    assert not [line for line in commands(cluster) if re.match(r"pip ", line)]


def test_every_node_type_names_an_image_as_rays_default_is_too_old(
    cluster: dict[str, Any],
) -> None:
    images = {
        node["node_config"].get("ImageId", "") for node in cluster["available_node_types"].values()
    }
    assert len(images) == 1
    assert images.pop().startswith("ami-")


def test_what_is_sent_exists_and_suffices_to_install_the_project(cluster: dict[str, Any]) -> None:
    mounts = cluster["file_mounts"]
    for remote, local in mounts.items():
        assert (ROOT / local).exists(), local
        assert remote == f"~/inat_ray/{local}"
    project = {"inat_ray", "experiments", "pyproject.toml", "requirements.txt"}
    assert project | {"README.md", "LICENSE"} <= set(mounts.values())


@pytest.mark.parametrize(
    "private",
    [
        ".git/config",
        ".venv/bin/python",
        "runs/mine/result.json",
        ".env",
        "key.pem",
        ".mypy_cache/x",
        "photos/train/ash/1.jpg",
        "inat_ray/__pycache__/sweep.cpython-311.pyc",
        "inat_ray/.env",
        "experiments/.git/config",
        "inat_ray/.venv/bin/python",
    ],
)
def test_secrets_runs_environments_and_caches_stay_at_home(
    cluster: dict[str, Any], private: str
) -> None:
    assert not sent(private, cluster)


def sent(path: str, cluster: dict[str, Any]) -> bool:
    """Whether a file of the checkout reaches the nodes, by rsync's rules for simple patterns."""
    mounted = any(
        Path(path).is_relative_to(os.path.normpath(local))
        for local in cluster["file_mounts"].values()
    )
    *folders, name = Path(path).parts
    return mounted and not any(
        fnmatch(part, pattern.rstrip("/"))
        for pattern in cluster["rsync_exclude"]
        for part in (folders if pattern.endswith("/") else [*folders, name])
    )


@pytest.mark.parametrize(
    "needed",
    [
        "inat_ray/sweep.py",
        "inat_ray/search/run_log.py",
        "experiments/cnn_bayes.yaml",
        "requirements.txt",
    ],
)
def test_the_project_itself_is_sent(cluster: dict[str, Any], needed: str) -> None:
    assert (ROOT / needed).exists()
    assert sent(needed, cluster)


def test_no_exclusion_holds_back_rays_own_files_or_the_runs(cluster: dict[str, Any]) -> None:
    # rsync applies the patterns to every transfer, in both directions.
    for name in ("ray-autoscaler_us-west-2.pem", "ray-bootstrap-abc", "runs", "photos", "pack"):
        assert not [p for p in cluster["rsync_exclude"] if fnmatch(name, p.rstrip("/"))]
    assert cluster["rsync_filter"] == []


def test_the_file_holds_no_path_of_one_machine_no_address_and_no_credential() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w~.])/(?:home|root|Users|tmp|work)\b\S*", text)
    assert not re.findall(r"\w+://\S+|\bgit@\S+", text)
    assert not re.findall(r"AKIA\w+|aws_secret\w*|ssh_private_key", text)
    assert not re.findall(r"\b\w+\.(?:com|org|io|net)\b", text)


def in_a_new_home(home: Path, line: str) -> str:
    """What a command prints in a shell whose home is `home`."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(
        ["bash", "--norc", "-c", line], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_after_the_setup_every_shell_has_the_environment_and_the_head_joins_the_cluster(
    cluster: dict[str, Any], tmp_path: Path
) -> None:
    activate = tmp_path / "inat_ray" / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text("export ENVIRONMENT=ours\n")
    lines = [line for line in cluster["head_setup_commands"] if ".bashrc" in line]
    for line in lines * 2:  # `ray up` may run them again
        in_a_new_home(tmp_path, line)
    bashrc = (tmp_path / ".bashrc").read_text().splitlines()
    assert len(bashrc) == len(set(bashrc)) == 2
    shown = in_a_new_home(tmp_path, "source ~/.bashrc; printenv ENVIRONMENT RAY_ADDRESS")
    assert shown.split() == ["ours", "auto"]
    assert not [line for line in cluster["worker_setup_commands"] if "RAY_ADDRESS" in line]


def test_what_the_sweep_decodes_on_the_head_reaches_the_workers(cluster: dict[str, Any]) -> None:
    from inat_ray.config.experiment import DataConfig

    (synced,) = cluster["cluster_synced_files"]
    assert Path(synced).expanduser() == Path(DataConfig().cache).expanduser()
    # Or Ray reads all of it again and again.
    assert cluster["file_mounts_sync_continuously"] is False


def test_ray_up_can_send_the_file_on_to_the_head(cluster: dict[str, Any]) -> None:
    assert json.loads(json.dumps(cluster)) == cluster
