"""The cluster files, by Ray's own reading: what they may cost, open and send. AWS is moto's."""

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "experiments" / "clusters"
FILES = {
    "aws": ROOT / "cluster.yaml",
    **{name: FOLDER / f"{name}.yaml" for name in ("gcp", "local")},
}
CLOUDS = ["aws", "gcp"]
SCRIPTS = sorted(FOLDER.glob("*.sh"))
IMAGE = "ami-12c6146b"  # one that moto knows


def written(name: str) -> dict[str, Any]:
    """A file as it stands."""
    config: dict[str, Any] = yaml.safe_load(FILES[name].read_text(encoding="utf-8"))
    return config


def prepared(name: str) -> dict[str, Any]:
    """What `ray up` makes of a file before it asks anybody: with Ray's defaults, and validated."""
    config: dict[str, Any] = prepare_config(written(name))
    validate_config(config)
    return config


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def cluster(name: str) -> dict[str, Any]:
    return prepared(name)


def head_of(cluster: dict[str, Any]) -> dict[str, Any]:
    head: dict[str, Any] = cluster["available_node_types"][cluster["head_node_type"]]
    return head


def workers_of(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """The node types that are not the head's."""
    types = cluster["available_node_types"]
    return [types[name] for name in types if name != cluster["head_node_type"]]


def commands(cluster: dict[str, Any]) -> list[str]:
    """Every command that any node runs."""
    return [
        command for key, lines in cluster.items() if key.endswith("_commands") for command in lines
    ]


def starting(cluster: dict[str, Any]) -> tuple[str, str]:
    """How Ray starts: on the head, on a worker."""
    (head,) = [line for line in cluster["head_start_ray_commands"] if "ray start" in line]
    (worker,) = [line for line in cluster["worker_start_ray_commands"] if "ray start" in line]
    return head, worker


# --- every file ----------------------------------------------------------------------------------


def test_ray_refuses_a_setting_that_it_does_not_know(name: str) -> None:
    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepare_config({**written(name), "idle_timeout": 10}))


def test_ray_up_can_send_the_file_on_to_the_head(cluster: dict[str, Any]) -> None:
    assert json.loads(json.dumps(cluster)) == cluster


def test_nobody_is_served_without_the_token(cluster: dict[str, Any]) -> None:
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for line in starting(cluster):
        before, _, _ = line.partition("ray start")
        assert "export RAY_AUTH_MODE=token;" in before


def test_no_command_line_shows_the_token(cluster: dict[str, Any]) -> None:
    for line in commands(cluster):
        assert not re.search(r"RAY_AUTH_TOKEN|auth_token|get-auth-token", line)
    for script in SCRIPTS:
        text = script.read_text()
        assert not re.search(r"cat\b.*token|\$\(.*token|RAY_AUTH_TOKEN=|set -x", text)


def test_the_dashboard_listens_on_loopback_alone(name: str, cluster: dict[str, Any]) -> None:
    head, worker = starting(cluster)
    assert head.split().count("--dashboard-host=127.0.0.1") == 1
    assert (head + worker).count("--dashboard-host") == 1
    assert "0.0.0.0" not in FILES[name].read_text(encoding="utf-8")  # as a value or in advice


def test_the_head_starts_workers_by_the_configuration_that_ray_up_sends(
    cluster: dict[str, Any],
) -> None:
    head, worker = starting(cluster)
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head.split()
    assert "--address=$RAY_HEAD_IP:6379" in worker.split()
    assert "--port=6379" in head.split()


def test_every_node_is_set_up_by_the_same_script_which_is_told_where_runs_go(
    cluster: dict[str, Any],
) -> None:
    setup = r"bash ~/inat_ray/experiments/clusters/setup\.sh (s3://|gs://)?YOUR-\S+"
    assert re.fullmatch(setup, cluster["head_setup_commands"][0])
    assert cluster["head_setup_commands"][0] == cluster["worker_setup_commands"][0]


def test_requirements_txt_alone_says_which_ray_is_installed(cluster: dict[str, Any]) -> None:
    lines = commands(cluster) + (FOLDER / "setup.sh").read_text().splitlines()
    assert not [line for line in lines if re.search(r"\bray\s*(\[|==|>=|@)|ray-wheels", line)]
    assert [line for line in lines if "--requirement requirements.txt" in line]
    assert re.search(r"^ray==[\d.]+$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)


def test_no_command_of_rays_defaults_is_left(cluster: dict[str, Any]) -> None:
    # They install another Ray, and the cloud's library into whatever pip comes first.
    assert not [line for line in commands(cluster) if "conda" in line or "which ray" in line]
    assert not [line for line in commands(cluster) if re.match(r"pip ", line)]


def test_each_script_that_a_file_runs_is_there_and_is_sent(cluster: dict[str, Any]) -> None:
    named = {
        path for line in commands(cluster) for path in re.findall(r"~/inat_ray/(\S+\.sh)", line)
    }
    assert named
    for path in named:
        assert (ROOT / path).exists()
        assert sent(path, cluster)


def test_what_is_sent_exists_and_suffices_to_install_the_project(cluster: dict[str, Any]) -> None:
    mounts = {k: v for k, v in cluster["file_mounts"].items() if "auth_token" not in k}
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
    ["inat_ray/sweep.py", "inat_ray/log/run_log.py", "experiments/cnn_bayes.yaml"],
)
def test_the_project_itself_is_sent(cluster: dict[str, Any], needed: str) -> None:
    assert (ROOT / needed).exists()
    assert sent(needed, cluster)


def test_no_exclusion_holds_back_rays_own_files_the_token_or_the_runs(
    cluster: dict[str, Any],
) -> None:
    # rsync applies the patterns to every transfer, in both directions.
    for name in ("ray-autoscaler_us-west-2.pem", "ray-bootstrap-abc", "auth_token", "runs", "pack"):
        assert not [p for p in cluster["rsync_exclude"] if fnmatch(name, p.rstrip("/"))]
    assert cluster["rsync_filter"] == []


def test_the_head_hands_data_out_through_ray_and_ray_copies_nothing_over_and_over(
    cluster: dict[str, Any],
) -> None:
    assert cluster["cluster_synced_files"] == []
    assert cluster["file_mounts_sync_continuously"] is False


@pytest.mark.parametrize("path", [*FILES.values(), *SCRIPTS], ids=lambda path: path.name)
def test_no_file_holds_a_path_of_one_machine_an_address_or_a_credential(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"(?<![\w~.])/(?:home|root|Users|work)\b\S*", text)
    assert not re.findall(r"(?<!s3)(?<!gs)(?<!auth/cloud-platform)\bhttp://\S+|\bgit@\S+", text)
    assert not re.findall(r"AKIA\w+|aws_secret\w*|BEGIN \w+ PRIVATE", text)
    assert not re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?<!127\.0\.0\.1)", text)


# --- the clouds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cloud", CLOUDS)
def test_there_are_no_workers_until_trials_wait_and_never_more_than_the_bound(cloud: str) -> None:
    cluster = prepared(cloud)
    workers = workers_of(cluster)
    assert workers
    for worker in workers:
        assert worker["min_workers"] == 0
        assert 1 <= worker["max_workers"] <= 16
    assert 1 <= cluster["max_workers"] <= 16
    assert 0 < cluster["idle_timeout_minutes"] <= 30


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_head_takes_no_trial(cloud: str) -> None:
    head = head_of(prepared(cloud))
    assert head["resources"] == {"CPU": 0}
    machine = head["node_config"].get("InstanceType") or head["node_config"]["machineType"]
    assert not re.match(r"(g|p|a)\d", machine)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_worker_that_lost_its_head_shuts_itself_down(cloud: str) -> None:
    cluster = prepared(cloud)
    assert "leave_with_head.sh" in cluster["worker_start_ray_commands"][-1]
    assert not [line for line in cluster["head_start_ray_commands"] if "leave_with_head" in line]
    if cloud == "aws":  # or it would only stop, and its disk go on costing money
        for worker in workers_of(cluster):
            assert worker["node_config"]["InstanceInitiatedShutdownBehavior"] == "terminate"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nothing_that_costs_money_outlives_a_node(cloud: str) -> None:
    cluster = prepared(cloud)
    assert cluster["provider"]["cache_stopped_nodes"] is False
    for node in cluster["available_node_types"].values():
        if cloud == "aws":
            (disk,) = node["node_config"]["BlockDeviceMappings"]
            assert disk["DeviceName"] == "/dev/sda1"
            assert disk["Ebs"]["DeleteOnTermination"] is True
            assert disk["Ebs"]["VolumeSize"] >= 100
        else:
            (disk,) = node["node_config"]["disks"]
            assert disk["autoDelete"] is True
            assert disk["initializeParams"]["diskSizeGb"] >= 100


def test_one_switch_makes_workers_spot_or_on_demand_and_the_head_is_never_spot() -> None:
    for market, given in (("spot", None), ("demand", "{}")):
        text = FILES["aws"].read_text()
        if given:
            text, changed = re.subn(r"(market: &market) \{.*\}\n", rf"\1 {given}\n", text)
            assert changed == 1
        cluster = prepare_config(yaml.safe_load(text))
        validate_config(cluster)
        for worker in workers_of(cluster):
            options = worker["node_config"].get("InstanceMarketOptions")
            assert options == ({"MarketType": "spot"} if market == "spot" else None)
        assert "InstanceMarketOptions" not in head_of(cluster)["node_config"]


def test_googles_workers_are_spot_and_go_when_they_are_taken_back_and_the_head_is_not() -> None:
    cluster = prepared("gcp")
    for worker in workers_of(cluster):
        market = worker["node_config"]["scheduling"]
        assert market["provisioningModel"] == "SPOT"
        assert market["instanceTerminationAction"] == "DELETE"
        assert worker["resources"]["GPU"] >= 1
    assert "scheduling" not in head_of(cluster)["node_config"]


def test_only_rays_own_security_group_which_admits_ssh_guards_the_nodes() -> None:
    cluster = prepared("aws")
    assert "security_group" not in cluster["provider"]
    for node in cluster["available_node_types"].values():
        opening = {"SecurityGroupIds", "SecurityGroups", "NetworkInterfaces", "LaunchTemplate"}
        assert not opening & set(node["node_config"])


def test_every_node_type_names_an_image_as_rays_default_is_too_old() -> None:
    types = prepared("aws")["available_node_types"].values()
    (image,) = {node["node_config"].get("ImageId", "") for node in types}
    assert image.startswith("ami-")


def test_head_and_workers_have_roles_of_their_own() -> None:
    cluster = prepared("aws")
    profiles = [head_of(cluster), *workers_of(cluster)]
    names = [node["node_config"]["IamInstanceProfile"]["Name"] for node in profiles]
    assert names == ["inat-ray-head", "inat-ray-worker"]
    page = (FOLDER / "README.md").read_text()
    for made in names:
        assert made in page


# --- AWS, as far as Ray's launcher goes ----------------------------------------------------------


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is there once Ray's launcher has started a head and a worker in an empty account.

    `cluster` is the file as Ray has filled it in; the rest is AWS's own account of what it has.
    """
    import boto3
    import moto
    from ray.autoscaler._private.aws import config, utils
    from ray.autoscaler._private.commands import _bootstrap_config
    from ray.autoscaler._private.providers import _get_node_provider

    # Ray keeps its clients for the life of the process.
    for cached in (utils.resource_cache, utils.client_cache, config._get_subnets_or_die):
        cached.cache_clear()
    filled_in = yaml.safe_load(FILES["aws"].read_text().replace("ami-PASTE-TODAYS-ID", IMAGE))
    with pytest.MonkeyPatch.context() as patch, moto.mock_aws(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"moto|boto")
        for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(key, "testing")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)  # of the suite's object store
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # for the key of the nodes
        iam = boto3.client("iam")
        for profile in ("inat-ray-head", "inat-ray-worker"):
            iam.create_instance_profile(InstanceProfileName=profile)

        cluster = _bootstrap_config(filled_in, no_config_cache=True)
        provider = _get_node_provider(cluster["provider"], cluster["cluster_name"], use_cache=False)
        for kind, node in cluster["available_node_types"].items():
            provider.create_node(node["node_config"], {TAG_RAY_USER_NODE_TYPE: kind}, 1)

        ec2 = boto3.client("ec2", region_name=cluster["provider"]["region"])
        machines = {}
        for kind in cluster["available_node_types"]:
            (node_id,) = provider.non_terminated_nodes({TAG_RAY_USER_NODE_TYPE: kind})
            (described,) = ec2.describe_instances(InstanceIds=[node_id])["Reservations"]
            (machines[kind],) = described["Instances"]
        groups = {
            group["GroupId"] for node in machines.values() for group in node["SecurityGroups"]
        }
        return {
            "cluster": cluster,
            "machines": machines,
            "groups": ec2.describe_security_groups(GroupIds=sorted(groups))["SecurityGroups"],
            "roles": iam.list_roles()["Roles"],
        }


def test_on_aws_nothing_is_open_to_the_world_but_ssh(launched: dict[str, Any]) -> None:
    (group,) = launched["groups"]
    assert group["GroupName"] == "ray-autoscaler-inat-ray"
    within, ssh = sorted(group["IpPermissions"], key=lambda rule: rule["IpProtocol"])
    assert [pair["GroupId"] for pair in within["UserIdGroupPairs"]] == [group["GroupId"]]
    assert (within["IpProtocol"], within["IpRanges"], within["Ipv6Ranges"]) == ("-1", [], [])
    assert (ssh["IpProtocol"], ssh["FromPort"], ssh["ToPort"]) == ("tcp", 22, 22)


def test_on_aws_head_and_worker_come_as_the_file_says(launched: dict[str, Any]) -> None:
    top, machines = launched["cluster"]["metadata"], launched["machines"]
    head, worker = machines["head"], machines["gpu"]
    assert (head["InstanceType"], worker["InstanceType"]) == (top["head"], top["worker"])
    assert "InstanceLifecycle" not in head
    assert worker["InstanceLifecycle"] == "spot"
    assert head["IamInstanceProfile"]["Arn"].endswith("/inat-ray-head")
    assert worker["IamInstanceProfile"]["Arn"].endswith("/inat-ray-worker")
    for node in machines.values():
        assert node["ImageId"] == IMAGE
        (disk,) = node["BlockDeviceMappings"]
        assert disk["Ebs"]["DeleteOnTermination"] is True


def test_on_aws_ray_learns_of_the_workers_gpu_and_gives_no_cpu_of_the_head(
    launched: dict[str, Any],
) -> None:
    types = launched["cluster"]["available_node_types"]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["head"]["resources"]["CPU"] == 0


def test_on_aws_the_key_of_the_nodes_is_the_users_alone(launched: dict[str, Any]) -> None:
    key = Path(launched["cluster"]["auth"]["ssh_private_key"])
    assert key.stat().st_mode & 0o777 == 0o600
    assert {node["KeyName"] for node in launched["machines"].values()} == {key.stem}


def test_on_aws_ray_makes_no_role_of_its_own_with_more_rights(launched: dict[str, Any]) -> None:
    assert launched["roles"] == []


# --- the scripts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_bash_that_stops_at_the_first_failure(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "\nset -euo pipefail\n" in script.read_text()


def at_home(home: Path, *line: str) -> subprocess.CompletedProcess[str]:
    """What bash does in a home of its own, in which `bin` comes first."""
    environment = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "--norc", *line],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node to which Ray has sent the project and the token, readable by all as Ray writes it."""
    (tmp_path / ".ray").mkdir(mode=0o755)
    (tmp_path / ".ray" / "auth_token").write_text("a-secret")
    project = tmp_path / "inat_ray"
    project.mkdir()
    for name in ("pyproject.toml", "requirements.txt"):
        (project / name).write_bytes((ROOT / name).read_bytes())
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(
        '#!/bin/bash\necho "$@" >> ~/calls\n'
        "if [[ $1 == venv ]]; then mkdir -p .venv/bin; ln -s /bin/true .venv/bin/python;"
        " echo 'export ENVIRONMENT=ours' > .venv/bin/activate; fi\n"
    )
    uv.chmod(0o755)
    return tmp_path


SETUP = str(FOLDER / "setup.sh")


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ([], "say where runs are kept"),
        (["s3://YOUR-BUCKET/inat_ray"], "placeholder"),
        (["YOUR-SHARED-FOLDER"], "placeholder"),
        (["runs"], "neither"),
    ],
)
def test_setup_refuses_a_storage_that_was_not_filled_in_before_it_installs_anything(
    home: Path, storage: list[str], said: str
) -> None:
    done = at_home(home, SETUP, *storage)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (home / "calls").exists()


@pytest.mark.parametrize("lost", ["removed", "empty"])
def test_setup_refuses_a_node_without_a_token(home: Path, lost: str) -> None:
    token = home / ".ray" / "auth_token"
    token.unlink() if lost == "removed" else token.write_text("")
    done = at_home(home, SETUP, "s3://mine/inat_ray")
    assert done.returncode == 2
    assert "ray get-auth-token --generate" in done.stderr


def test_after_the_setup_the_token_is_the_users_alone_and_was_shown_to_nobody(home: Path) -> None:
    done = at_home(home, SETUP, "s3://mine/inat_ray")
    assert done.returncode == 0, done.stderr
    assert (home / ".ray").stat().st_mode & 0o777 == 0o700
    assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert "a-secret" not in done.stdout + done.stderr
    for made in ("calls", ".bashrc", "inat_ray/environment.sh"):
        assert "a-secret" not in (home / made).read_text()


def test_a_second_setup_installs_nothing_until_the_project_changes(home: Path) -> None:
    for _ in range(2):
        assert at_home(home, SETUP, "s3://mine/inat_ray").returncode == 0
    calls = (home / "calls").read_text().splitlines()
    assert [line.split()[0] for line in calls] == ["venv", "pip", "pip"]
    with (home / "inat_ray" / "requirements.txt").open("a") as file:
        file.write("extra==1.0\n")
    assert at_home(home, SETUP, "s3://mine/inat_ray").returncode == 0
    assert len((home / "calls").read_text().splitlines()) == 5


def test_after_the_setup_every_shell_knows_the_environment_the_storage_and_the_token_mode(
    home: Path,
) -> None:
    for storage in ("s3://mine/first", "s3://mine/a folder"):  # filled in anew
        assert at_home(home, SETUP, storage).returncode == 0
    assert len((home / ".bashrc").read_text().splitlines()) == 1
    shown = "source ~/.bashrc; echo $ENVIRONMENT $RAY_AUTH_MODE $RAY_ADDRESS $INAT_RAY_STORAGE_PATH"
    assert at_home(home, "-c", shown).stdout == "ours token s3://mine/a folder\n"


def test_on_the_head_alone_a_sweep_joins_the_cluster_or_fails(home: Path) -> None:
    assert at_home(home, SETUP, "s3://mine/inat_ray").returncode == 0
    shown = "source ~/.bashrc; echo address=$RAY_ADDRESS"
    assert at_home(home, "-c", shown).stdout == "address=\n"
    (home / "ray_bootstrap_config.yaml").touch()
    assert at_home(home, "-c", shown).stdout == "address=auto\n"


@pytest.fixture
def called(home: Path) -> Callable[[str, str], Path]:
    """Puts a program into the node's path."""

    def write(program: str, does: str) -> Path:
        path = home / "bin" / program
        path.write_text(f"#!/bin/bash\n{does}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.mark.parametrize("code", [0, 1])
def test_a_node_with_a_gpu_lets_its_trials_compute_at_once(
    home: Path, called: Callable[[str, str], Path], code: int
) -> None:
    """1: the service is running already."""
    called("nvidia-smi", "true")
    called("nvidia-cuda-mps-control", f'echo "$@" $(ls /proc/$$/fd) >> ~/service; exit {code}')
    assert at_home(home, SETUP, "s3://mine/inat_ray").returncode == 0
    option, *files = (home / "service").read_text().split()
    assert option == "-d"
    assert "9" not in files  # the lock of the setup
    shown = at_home(home, "-c", "source ~/.bashrc; echo $CUDA_MPS_PIPE_DIRECTORY").stdout
    assert Path(shown.strip()).stat().st_mode & 0o777 == 0o700


def test_a_node_without_a_gpu_starts_no_service(
    home: Path, called: Callable[[str, str], Path]
) -> None:
    called("nvidia-smi", "exit 9")
    called("nvidia-cuda-mps-control", "touch ~/service")
    assert at_home(home, SETUP, "s3://mine/inat_ray").returncode == 0
    assert not (home / "service").exists()


FIREWALL = str(FOLDER / "firewall.sh")


@pytest.fixture
def rules(home: Path, called: Callable[[str, str], Path]) -> Path:
    """Where the rules go that nftables would be given."""
    python = home / "inat_ray" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    called("nft", "cat > ~/rules")
    called("sudo", 'shift; exec "$@"')
    return home / "rules"


def test_the_firewall_refuses_hosts_that_were_not_filled_in_and_touches_nothing(
    home: Path, rules: Path
) -> None:
    done = at_home(home, FIREWALL, str(FILES["local"]))
    assert done.returncode == 2
    assert "IPv4" in done.stderr
    assert not rules.exists()


def test_the_firewall_admits_ssh_and_the_clusters_own_hosts_and_drops_the_rest(
    home: Path, rules: Path
) -> None:
    text = FILES["local"].read_text()
    for placeholder, address in (
        ("YOUR-HEAD", "192.0.2.1"),
        ("YOUR-WORKER", "192.0.2.2"),
        ("YOUR-OTHER-WORKER", "192.0.2.3"),
    ):
        text = text.replace(placeholder, address)
    (home / "local.yaml").write_text(text)
    done = at_home(home, FIREWALL, str(home / "local.yaml"))
    assert done.returncode == 0, done.stderr
    given = rules.read_text()
    assert "policy drop" in given
    assert "tcp dport 22 accept" in given
    assert "ip saddr { 192.0.2.1, 192.0.2.2, 192.0.2.3 } accept" in given
    # What is there already is replaced in the same transaction, and nobody else's table touched.
    tables = re.findall(r"^(table|delete table|flush\b.*) (\S+ \S+)", given, re.MULTILINE)
    assert [name for _, name in tables] == ["inet inat_ray"] * 3


def test_every_start_of_ray_on_hosts_of_ones_own_raises_the_firewall_first() -> None:
    cluster = prepared("local")
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        (wall,) = [i for i, line in enumerate(cluster[key]) if "firewall.sh" in line]
        (ray,) = [i for i, line in enumerate(cluster[key]) if "ray start" in line]
        assert wall < ray


@pytest.mark.parametrize("minutes", [0, 20])
def test_a_worker_shuts_down_a_quarter_of_an_hour_after_its_ray_has_gone(
    home: Path, called: Callable[[str, str], Path], minutes: int
) -> None:
    called("sleep", "echo minute >> ~/slept")
    called("pgrep", f"(( $(wc -l < ~/slept) <= {minutes} ))")
    called("sudo", 'echo "$@" > ~/shutdown')
    assert at_home(home, str(FOLDER / "leave_with_head.sh"), "watch").returncode == 0
    assert len((home / "slept").read_text().splitlines()) == minutes + 15
    assert "shutdown -h now" in (home / "shutdown").read_text()
