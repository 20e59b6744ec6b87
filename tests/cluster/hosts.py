"""Real hosts on one machine, and a Ray cluster that the real `ray up` brings up on them.

A host is a set of Linux namespaces: a network of its own (a veth pair on a bridge), its own
processes, host name, home, /tmp, /mnt, /run and /dev/shm, and `sshd` on port 22. It has no way to
the internet. What it shares with the machine: the kernel, /usr, the Python interpreter (read-only)
and, by hard links, uv's cache, so that installing PyTorch on a host takes seconds and no space.

    laptop      the machine itself, with a home of its own: here `ray up` runs
    h1, h2, ..  the hosts; all are equal until a cluster file makes one of them the head
    outsider    a stranger on the same network, without a key: here port scans run

What Ray does on such hosts, found by trying (Ray 2.60, provider `local`):

- `ray up` sets up and starts the head, and returns (9 s); the head's monitor then sets up and
  starts all workers at once, with the key that `ray up` gave it (13 s more).
- `ray up` chooses autoscaler v2, which brings up all workers but one: the head's own state lacks
  the head, so v2 counts it as a worker. A start command of the head that says
  `export RAY_enable_autoscaler_v2=0` gets v1, which brings up all. What follows holds for v1.
- A host that joins in the middle is best listed from the start and switched on later: it is a
  node 10 s after it answers. A longer list needs a `ray up` that restarts the head;
  `ray up --no-restart` adds nobody.
- A host that is killed or cut off stops being a node after 65 s. When it is there again, the
  monitor restarts Ray on it, and it is a node after 30 s.
- A host that comes back wiped stays out (for the 2 minutes that we looked): the monitor only starts
  Ray again, without the setup commands, and finds none. A second `ray up` changed nothing in 90 s.
- `ray down` stops Ray on the head; the workers' Ray ends by itself 50 s later.
"""

import contextlib
import fcntl
import getpass
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
CLUSTER_YAML = Path("cluster.yaml")  # the project's files, from the top of a checkout
LOCAL_YAML = Path("experiments/clusters/local.yaml")

NETWORK = "10.77.0"  # /24
LAPTOP_ADDRESS = f"{NETWORK}.1"
OUTSIDER = "outsider"
BRIDGE = "inat-br"
PREFIX = "inat-"  # of the names of namespaces and of veths

# A folder that all hosts share, in the place of NFS. Unlike NFS it is there for a host that is cut
# off, too.
SHARED = "/mnt/shared"
SHARED_MEMORY = "2g"  # the bound of a host's /dev/shm; only what is written there takes memory
OBJECT_STORE = 200 * 2**20  # bytes a node; 75 MiB is the least that Ray takes

# What is installed on the machine besides Python. sshd comes with openssh-server.
TOOLS = ("ip", "unshare", "nsenter", "sshd", "ssh", "ssh-keygen", "rsync", "nft", "nmap", "uv")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Result = subprocess.CompletedProcess[str]

# Runs as process 1 of a host, in its new namespaces. Everything that lies under the old home or
# the old /tmp is mounted first, for the last mounts hide it.
BOOT = r"""
set -eu
hostname "$NAME"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd
cp -r "$DISK/ssh" /run/harness
chmod 600 /run/harness/*key
mount --bind "$DISK/hosts" /etc/hosts
mount -t tmpfs -o "size=$SHARED_MEMORY,mode=1777" tmpfs /dev/shm
mkdir -p "$DISK/mnt/shared" "$DISK/tmp"
mount --bind "$SHARED" "$DISK/mnt/shared"
chmod 1777 "$DISK/tmp"
hidden() { case "$INTERPRETER/" in "$1"/*) return 0 ;; esac; return 1; }
for place in "$HOME:home" /tmp:tmp; do
  if hidden "${place%:*}"; then
    inside="$DISK/${place##*:}${INTERPRETER#"${place%:*}"}"
    mkdir -p "$inside"
    mount --bind "$INTERPRETER" "$inside"
    mount -o remount,bind,ro "$inside"
  fi
done
mount --rbind "$DISK/mnt" /mnt
if [ -d "$CHECKOUT" ] && ! hidden "$CHECKOUT"; then mount -t tmpfs -o ro tmpfs "$CHECKOUT"; fi
exec 3<"$DISK/home" 4<"$DISK/tmp"
mount --rbind /proc/self/fd/3 "$HOME"
mount --rbind /proc/self/fd/4 /tmp
exec 3<&- 4<&-
cd "$HOME"
exec "$SSHD" -D -e -f /run/harness/sshd_config
"""

# As on Ubuntu: what follows the first line counts for interactive shells only, as Ray's are.
BASHRC = """\
case $- in *i*) ;; *) return ;; esac
export PATH="$HOME/.local/bin:{interpreter}/bin:$PATH"
"""
PROFILE = 'if [ -n "$BASH_VERSION" ] && [ -f ~/.bashrc ]; then . ~/.bashrc; fi\n'

SSHD_CONFIG = """\
Port 22
HostKey /run/harness/host_key
PidFile none
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
MaxStartups 100
MaxSessions 100
SetEnv {environment}
"""
SSH_OPTIONS = (
    "-oStrictHostKeyChecking=no",
    "-oUserKnownHostsFile=/dev/null",
    "-oLogLevel=ERROR",
    "-oBatchMode=yes",
    "-oConnectTimeout=5",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=2",
)


class HostsError(RuntimeError):
    """A command that makes, reaches or removes hosts failed; the message holds its output."""


def missing() -> list[str]:
    """What this machine lacks for `Hosts`, as phrases; empty if nothing."""
    if sys.platform != "linux":
        return ["Linux"]
    lacks = [] if os.geteuid() == 0 else ["the rights of root"]
    return lacks + [tool for tool in TOOLS if _tool(tool) is None]


def cluster_config(
    file: Path,
    head: str,
    workers: Iterable[str],
    key: Path,
    storage: str,
    head_cpus: int,
    worker_cpus: int,
) -> dict[str, Any]:
    """A cluster file of the project, with only what a person fills in and the sizes replaced.

    That is: the provider, the way in, and the place of runs. `head` and `workers` are addresses.
    """
    config: dict[str, Any] = yaml.safe_load(file.read_text())
    written_for = config["provider"]["type"]
    # The provider `local` allows no node types and takes the number of workers from the list.
    for size in ("available_node_types", "head_node_type", "max_workers", "metadata"):
        config.pop(size, None)
    config["provider"] = {"type": "local", "head_ip": head, "worker_ips": list(workers)}
    config["auth"] = {"ssh_user": getpass.getuser(), "ssh_private_key": str(key)}
    for commands, cpus in (
        ("head_start_ray_commands", head_cpus),
        ("worker_start_ray_commands", worker_cpus),
    ):
        config[commands] = [_sized(command, cpus=cpus) for command in config[commands]]
    if written_for != "local":
        # Autoscaler v2 never sees the head of this provider, and brings up all workers but one.
        config["head_start_ray_commands"] = [
            f"export RAY_enable_autoscaler_v2=0; {command}"
            for command in config["head_start_ray_commands"]
        ]
    config["setup_commands"] = [
        re.sub(r"(setup\.sh) \S*YOUR-\S*", rf"\1 {storage}", command)
        for command in config["setup_commands"]
    ]
    return config


def _sized(command: str, cpus: int) -> str:
    """`command` on a node of `cpus`, told to Ray as its autoscaler tells it on AWS."""
    sizes = json.dumps({"CPU": cpus, "object_store_memory": OBJECT_STORE})
    return f"export RAY_OVERRIDE_RESOURCES={shlex.quote(sizes)}; {command}"


@dataclass
class Host:
    """One host: its disk outlives its power."""

    name: str
    address: str
    disk: Path
    power: subprocess.Popen[bytes] | None = None  # `unshare`, the parent of process 1

    @property
    def namespace(self) -> str:
        return PREFIX + self.name

    @property
    def mac(self) -> str:
        """Made from the address, so that nobody's ARP table is wrong after the host was off."""
        return f"02:00:0a:4d:00:{int(self.address.rsplit('.', 1)[1]):02x}"


class Hosts:
    """`count` hosts with power, as long as the `with` lasts; then nothing of them is left.

    One at a time on a machine: a second one, also of another process, raises HostsError. What a
    killed process has left is removed by the next one.
    """

    def __init__(self, count: int) -> None:
        self.root = _uv_cache().parent / "inat_ray_test_hosts"
        self.home = self.root / "laptop"
        self.key = self.home / ".ssh" / "id_ed25519"
        self.checkout = self.home / "inat_ray"  # the laptop's, whose cluster file is filled in
        self.shared = self.root / "shared"  # SHARED, seen from the machine
        self.hosts = {
            name: Host(name=name, address=f"{NETWORK}.{10 + number}", disk=self.root / name)
            for number, name in ((number, f"h{number}") for number in range(1, count + 1))
        }
        self._outsider = Host(name=OUTSIDER, address=f"{NETWORK}.200", disk=self.root / OUTSIDER)
        self._lock: IO[str] | None = None
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> "Hosts":
        self._lock = _lock(self.root.with_suffix(".lock"))
        try:
            self._remove()
            self._make_laptop()
            self._make_network()
            for name in self.hosts:
                self._switch_on(name)
            for name in self.hosts:
                self.wait_for(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._lock is not None
        try:
            self._remove()
        finally:
            self._lock.close()

    # Commands

    def address(self, host: str) -> str:
        return self.hosts[host].address

    def run(
        self,
        host: str,
        command: str,
        source: str | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> Result:
        """`command` over ssh from the laptop, or from host `source`, in a shell as Ray's.

        That is a login shell which is interactive, so ~/.bashrc counts. A host that does not
        answer gives return code 255 within 10 seconds or so.
        """
        key = str(self.key) if source is None else "/run/harness/user_key"
        to = f"{getpass.getuser()}@{self.address(host)}"
        shell = f"bash --login -i -c {shlex.quote(command)}"
        ssh = ["ssh", "-F", "/dev/null", "-i", key, *SSH_OPTIONS, to, shell]
        if source is not None:
            return self.enter(source, ssh, timeout=timeout, check=check)
        return self.laptop(ssh, timeout=timeout, check=check)

    def python(self, host: str, code: str, timeout: float = 120, check: bool = True) -> Result:
        """`code` in the Python that a user has on that host, in the project's folder."""
        command = f"cd ~/inat_ray && python -c {shlex.quote(code)}"
        return self.run(host, command, timeout=timeout, check=check)

    def enter(
        self, host: str, argv: Sequence[str], timeout: float = 60, check: bool = True
    ) -> Result:
        """`argv` within the host, without ssh: also for a host that is cut off."""
        inside = ["nsenter", "-t", str(self._first_process(host)), "-p", "-m", "-n", "-u", "--"]
        environment = {"PATH": SYSTEM_PATH, "HOME": str(Path.home())}
        return _run([*inside, *argv], env=environment, timeout=timeout, check=check)

    def outside(self, argv: Sequence[str], timeout: float = 120, check: bool = True) -> Result:
        """`argv` at the stranger's place in the network, with the machine's files."""
        inside = ["ip", "netns", "exec", self._outsider.namespace]
        return _run([*inside, *argv], timeout=timeout, check=check)

    def open_ports(self, host: str) -> set[int]:
        """All TCP ports on which the stranger finds `host` listening.

        Takes a second, or seven where a firewall answers nothing.
        """
        scan = ["nmap", "-n", "-Pn", "-p-", "-T5", "--min-rate", "20000", "--open", "-oG", "-"]
        found = self.outside([*scan, self.address(host)]).stdout
        return {int(port) for port in re.findall(r"(\d+)/open/tcp", found)}

    def laptop(self, argv: Sequence[str], timeout: float = 60, check: bool = True) -> Result:
        """`argv` in the checkout on the laptop; nothing that it starts in the background stays."""
        return _run(
            [*_alone(), *argv],
            env=self._laptop_environment(),
            cwd=self.checkout,
            timeout=timeout,
            check=check,
        )

    def start_on_laptop(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """`argv` on the laptop until its end, `kill()`, or the end of the hosts."""
        process = subprocess.Popen(
            [*_alone(), *argv],
            env=self._laptop_environment(),
            cwd=self.checkout,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    # Power, network and disks

    def kill(self, host: str) -> None:
        """A power cut: no process says good-bye and no packet leaves. The disk stays."""
        machine = self.hosts[host]
        _end(machine)

    def start(self, host: str) -> None:
        """Boots a host that is off, and waits for its sshd. /tmp is empty then, as on Ubuntu."""
        assert self.hosts[host].power is None, f"{host} is on"
        self._switch_on(host)
        self.wait_for(host)

    def wipe(self, host: str) -> None:
        """Switches `host` off and empties its disk: after `start` it is a new host."""
        self.kill(host)
        shutil.rmtree(self.hosts[host].disk, ignore_errors=True)

    def cut_off(self, host: str) -> None:
        """Pulls the network cable; all processes go on."""
        _run(["ip", "link", "set", PREFIX + host, "down"])

    def reconnect(self, host: str) -> None:
        _run(["ip", "link", "set", PREFIX + host, "up"])

    def limit_disk(self, host: str, folder: str, megabytes: int) -> None:
        """Puts an empty file system of `megabytes` at `folder` (`~/...`: the home), till `kill`."""
        place = folder.replace("~", str(Path.home()), 1)
        self.enter(host, ["mkdir", "-p", place])
        self.enter(host, ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place])

    def processes(self, host: str) -> dict[int, str]:
        """The command lines of all processes of a host, by their id on the machine."""
        first = self._first_process(host)
        namespace = Path(f"/proc/{first}/ns/pid").readlink()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if (folder / "ns" / "pid").readlink() == namespace:
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = line.decode(errors="replace").strip()
        return found

    def answers(self, host: str) -> bool:
        """Whether its sshd takes a connection from the laptop within a second."""
        try:
            socket.create_connection((self.address(host), 22), timeout=1).close()
        except OSError:
            return False
        return True

    def wait_for(self, host: str, timeout: float = 20) -> None:
        """Until its sshd answers; HostsError if that takes longer than `timeout` seconds."""
        end = time.monotonic() + timeout
        power = self.hosts[host].power
        while not self.answers(host):
            if (power is not None and power.poll() is not None) or time.monotonic() > end:
                log = (self.hosts[host].disk / "boot.log").read_text()
                raise HostsError(f"{host} does not answer. Its boot said:\n{log}")
            time.sleep(0.05)

    # The cluster

    def cluster_file(
        self,
        source: Path = CLUSTER_YAML,
        head: str = "h1",
        workers: Iterable[str] | None = None,
        storage: str = f"{SHARED}/runs",
        head_cpus: int = 0,
        worker_cpus: int = 1,
        changes: Mapping[str, Any] | None = None,
    ) -> Path:
        """Fills in `source`, CLUSTER_YAML or LOCAL_YAML, in the laptop's checkout; what `up` takes.

        All hosts but the head are workers unless they are named. `head_cpus=0` is the head of
        cluster.yaml, which runs no trials. `changes` replaces whole entries of the file.
        """
        if workers is None:
            workers = [name for name in self.hosts if name != head]
        config = cluster_config(
            CHECKOUT / source,
            head=self.address(head),
            workers=[self.address(name) for name in workers],
            key=self.key,
            storage=storage,
            head_cpus=head_cpus,
            worker_cpus=worker_cpus,
        )
        config.update(changes or {})
        (self.checkout / source).write_text(yaml.safe_dump(config, sort_keys=False))
        return source

    def make_token(self) -> None:
        """What the user does once, before the first `ray up`."""
        self.laptop(["ray", "get-auth-token", "--generate"])

    def up(self, file: Path, *options: str, timeout: float = 300, check: bool = True) -> Result:
        """`ray up`; returns when the head is up. The laptop's caches of clusters are not used."""
        command = ["ray", "up", "-y", str(file), "--no-config-cache", *options]
        return self.laptop(command, timeout=timeout, check=check)

    def down(self, file: Path, *options: str, timeout: float = 120, check: bool = True) -> Result:
        return self.laptop(["ray", "down", "-y", str(file), *options], timeout=timeout, check=check)

    def exec(
        self, file: Path, command: str, *options: str, timeout: float = 120, check: bool = True
    ) -> Result:
        """`ray exec`: `command` on the head, as a user of cluster.yaml gives it."""
        line = ["ray", "exec", str(file), "--no-config-cache", *options, command]
        return self.laptop(line, timeout=timeout, check=check)

    def give(self, path: str, text: str, hosts: Iterable[str] | None = None) -> None:
        """Writes a file that its owner alone may read, `~/...`, on all hosts or on some."""
        for name in self.hosts if hosts is None else hosts:
            file = self.hosts[name].disk / "home" / path.removeprefix("~/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o600)

    def send(self, file: Path, folder: Path) -> None:
        """`ray rsync-up`: a folder of the laptop's home, to the head's."""
        name = f"~/{folder.relative_to(self.home)}/"
        self.laptop(["ray", "rsync-up", str(file), f"{folder}/", name], timeout=300)

    def submit(self, file: Path, command: str) -> None:
        """A Ray job through a tunnel to the dashboard; the tunnel is closed when this returns."""
        tunnel = self.start_on_laptop(["ray", "dashboard", str(file), "--no-config-cache"])
        address = "http://localhost:8265"
        submit = ["env", "RAY_AUTH_MODE=token", "ray", "job", "submit", "--address", address]
        try:
            _wait_for_port(8265)
            self.laptop([*submit, "--no-wait", "--", "bash", "-c", command])
        finally:
            self._started.remove(tunnel)
            tunnel.kill()
            tunnel.communicate()

    def alive(self, head: str = "h1") -> set[str]:
        """The hosts that are nodes of the cluster, as its head sees them."""
        code = (
            "import json, ray; ray.init(address='auto', log_to_driver=False); "
            "print('NODES', json.dumps([n['NodeManagerAddress'] for n in ray.nodes() "
            "if n['Alive']]))"
        )
        said = self.python(head, code, check=False)
        match = re.search(r"^NODES (.*)$", said.stdout, flags=re.MULTILINE)
        addresses = json.loads(match.group(1)) if match else []
        return {name for name, host in self.hosts.items() if host.address in addresses}

    def wait_for_nodes(self, names: Iterable[str], head: str = "h1", timeout: float = 180) -> None:
        """Until exactly the hosts `names` are nodes of the cluster."""
        wanted, end = set(names), time.monotonic() + timeout
        while (found := self.alive(head)) != wanted:
            if time.monotonic() > end:
                raise HostsError(
                    f"the nodes are {sorted(found)}, not {sorted(wanted)}; the monitor said:\n"
                    + self.monitor_log(head)
                )
            time.sleep(1)

    def monitor_log(self, head: str = "h1") -> str:
        """The end of what the head's monitor wrote, setup of the workers included."""
        logs = "cd /tmp/ray/session_latest/logs && tail -n 60 monitor.log monitor.out monitor.err"
        return self.enter(head, ["sh", "-c", logs], check=False).stdout

    # How it is made

    def _first_process(self, host: str) -> int:
        power = self.hosts[host].power
        assert power is not None, f"{host} is off"
        children = Path(f"/proc/{power.pid}/task/{power.pid}/children")
        return int(children.read_text().split()[0])

    def _laptop_environment(self) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
            "HOME": str(self.home),
            "USER": getpass.getuser(),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            # Here `ray up` notes which hosts of a `local` provider it has taken.
            "RAY_TMPDIR": str(self.home / "tmp"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def _make_laptop(self) -> None:
        for folder in (self.home / "tmp", self.key.parent, self.checkout, self.shared):
            folder.mkdir(parents=True)
        sent = yaml.safe_load((CHECKOUT / CLUSTER_YAML).read_text())["file_mounts"].values()
        named = [CHECKOUT / name for name in sent if not name.startswith(("~", "/"))]
        _run(["cp", "-r", *map(str, named), str(CHECKOUT / CLUSTER_YAML), str(self.checkout)])
        for key in (self.key, self.home / "host_key"):
            _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key)])

    def _make_network(self) -> None:
        _run(["ip", "link", "add", BRIDGE, "type", "bridge"])
        _run(["ip", "address", "add", f"{LAPTOP_ADDRESS}/24", "dev", BRIDGE])
        _run(["ip", "link", "set", BRIDGE, "up"])
        _plug_in(self._outsider)

    def _switch_on(self, name: str) -> None:
        host = self.hosts[name]
        if not host.disk.exists():
            self._make_disk(host)
        shutil.rmtree(host.disk / "tmp", ignore_errors=True)
        _plug_in(host)
        spaces = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child"]
        with (host.disk / "boot.log").open("wb") as log:
            host.power = subprocess.Popen(
                ["ip", "netns", "exec", host.namespace, *spaces, "--mount-proc", "sh", "-c", BOOT],
                env=self._boot_environment(host),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the Ctrl-C that ends the tests is not for the hosts
            )

    def _boot_environment(self, host: Host) -> dict[str, str]:
        return {
            "PATH": SYSTEM_PATH,
            "NAME": host.name,
            "DISK": str(host.disk),
            "HOME": str(Path.home()),
            "CHECKOUT": str(CHECKOUT),
            "INTERPRETER": str(_interpreter()),
            "SHARED": str(self.shared),
            "SHARED_MEMORY": SHARED_MEMORY,
            "SSHD": str(_tool("sshd")),
        }

    def _make_disk(self, host: Host) -> None:
        home = host.disk / "home"
        (home / ".ssh").mkdir(parents=True)
        shutil.copy(self.key.with_suffix(".pub"), home / ".ssh" / "authorized_keys")
        (home / ".bashrc").write_text(BASHRC.format(interpreter=_interpreter()))
        (home / ".profile").write_text(PROFILE)
        _install_uv(home)
        self._write_ssh(host.disk / "ssh")
        names = [f"{other.address} {name}\n" for name, other in self.hosts.items()]
        (host.disk / "hosts").write_text("127.0.0.1 localhost\n" + "".join(names))

    def _write_ssh(self, folder: Path) -> None:
        folder.mkdir()
        shutil.copy(self.home / "host_key", folder / "host_key")
        shutil.copy(self.key, folder / "user_key")
        environment = " ".join(f"{name}={value}" for name, value in _host_environment().items())
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(environment=environment))

    def _remove(self) -> None:
        """All there is, whoever made it; also what was made by half."""
        for process in self._started:
            process.kill()
            process.communicate()
        self._started.clear()
        for host in (*self.hosts.values(), self._outsider):
            _end(host)
        for name in _namespaces():
            _delete_namespace(name)
        _run(["ip", "link", "delete", BRIDGE], check=False)
        if self.root.exists():
            # Not shutil.rmtree: 60,000 links a host take it three times as long.
            _run(["rm", "-rf", str(self.root)], timeout=300)


def _plug_in(host: Host) -> None:
    """Its network namespace, with an eth0 on the bridge and no way to anywhere else."""
    outer, inside = PREFIX + host.name, ["ip", "-n", host.namespace]
    _run(["ip", "netns", "add", host.namespace])
    peer = ["peer", "name", "eth0", "netns", host.namespace, "address", host.mac]
    _run(["ip", "link", "add", outer, "type", "veth", *peer])
    _run(["ip", "link", "set", outer, "master", BRIDGE, "up"])
    _run([*inside, "address", "add", f"{host.address}/24", "dev", "eth0"])
    for device in ("lo", "eth0"):
        _run([*inside, "link", "set", device, "up"])


def _end(host: Host) -> None:
    """Network first: else the kernel would close the connections of the dead processes."""
    _run(["ip", "link", "delete", PREFIX + host.name], check=False)
    if host.power is not None:
        host.power.kill()  # and with it (--kill-child) process 1, and with that all others
        host.power.wait()
        host.power = None
    _delete_namespace(host.namespace)


def _namespaces() -> list[str]:
    """The network namespaces that are ours by their names."""
    listed = _run(["ip", "netns", "list"], check=False).stdout.splitlines()
    return [
        name for name in (line.split()[0] for line in listed if line) if name.startswith(PREFIX)
    ]


def _delete_namespace(name: str) -> None:
    """Also ends the processes in it, and waits for that."""
    end = time.monotonic() + 20
    while pids := _run(["ip", "netns", "pids", name], check=False).stdout.split():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if time.monotonic() > end:
            raise HostsError(f"processes {pids} of {name} do not end")
        time.sleep(0.02)
    _run(["ip", "netns", "delete", name], check=False)


def _wait_for_port(port: int, timeout: float = 30) -> None:
    """Until something on the laptop listens there."""
    end = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


def _alone() -> list[str]:
    """Processes of their own: ssh leaves masters in the background, which end with the command."""
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _host_environment() -> dict[str, str]:
    """What every shell of a host has, for there is no internet. An index is part of uv's cache."""
    indexes = {name: value for name, value in os.environ.items() if re.match(r"UV_.*INDEX", name)}
    return {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1", **indexes}


def _install_uv(home: Path) -> None:
    """uv and its cache in a new home, as `pip install --user uv` and installs leave them."""
    (home / ".local" / "bin").mkdir(parents=True)
    shutil.copy(str(_tool("uv")), home / ".local" / "bin" / "uv")
    (home / ".cache").mkdir()
    # Hard links do not cross mounts, so a cache that is mounted would be copied: 6 GB a host.
    # Within one home they do work, and to link the whole cache takes a second.
    _run(["cp", "-al", str(_uv_cache()), str(home / ".cache" / "uv")], timeout=300)


def _uv_cache() -> Path:
    return Path(_run([str(_tool("uv")), "cache", "dir"]).stdout.strip())


def _interpreter() -> Path:
    """Where the Python lies that runs this, not its virtual environment."""
    return Path(sys.base_prefix).resolve()


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{Path(sys.executable).parent}:{SYSTEM_PATH}")


def _lock(file: Path) -> IO[str]:
    handle = file.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise HostsError("another process on this machine has hosts now") from None
    return handle


def _run(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 60,
    check: bool = True,
) -> Result:
    try:
        done = subprocess.run(
            argv,
            env=env,
            cwd=cwd,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        said = b"\n".join(part for part in (late.stdout, late.stderr) if part)
        text = said.decode(errors="replace")
        raise HostsError(f"{shlex.join(argv)}: not done in {timeout} s\n{text}") from None
    if check and done.returncode != 0:
        raise HostsError(
            f"{shlex.join(argv)}: return code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done
