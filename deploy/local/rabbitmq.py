"""A private RabbitMQ node: `python -m deploy.local.rabbitmq start|stop FOLDER`."""

import json
import os
import resource
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import ports, processes, records, releases

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
FRAME_MAX_BYTES = 128 * 1024 * 1024
# A stream costs two descriptors. Far more than this makes Erlang reserve memory for tables that stay empty.
OPEN_FILES = 262_144
PLUGINS = "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_stream].\n"
_PORTS = ("amqp", "stream", "management", "prometheus", "epmd", "distribution")

_CONFIG = """\
listeners.tcp.1 = {host}:{amqp}
stream.listeners.tcp.1 = {host}:{stream}
stream.advertised_host = {host}
stream.advertised_port = {stream}
stream.frame_max = {frame_max}
management.tcp.ip = {host}
management.tcp.port = {management}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {prometheus}
default_user = guest
default_pass = {password}
loopback_users.guest = true
disk_free_limit.absolute = 500MB
max_message_size = {frame_max}
log.console = false
log.file.level = info
"""


_CLUSTER_CONFIG = """\
queue_leader_locator = balanced
cluster_partition_handling = pause_minority
cluster_formation.peer_discovery_backend = classic_config
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What the nodes of one cluster share, and the names of those that this one joins at its first start."""

    epmd_port: int
    cookie: str = field(repr=False)
    password: str = field(repr=False)
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitNode:
    """A running node. The URLs hold its password: never log them. `open_files` bounds its streams."""

    folder: Path
    amqp_url: str = field(repr=False)
    stream_url: str = field(repr=False)
    management_url: str = field(repr=False)
    prometheus_url: str
    pid: int
    open_files: int

    def stop(self) -> None:
        stop(self.folder)


def start(folder: Path, *, name: str = "sluice", membership: Membership | None = None) -> RabbitNode:
    """Start the node whose data lies in `folder` and wait until it takes messages.

    A member of a cluster leaves epmd to the cluster, which has started it.

    Ports and password are those of the last start where possible. A node whose starter died is stopped first.
    Raises install.PackageMissing, records.Running (somebody else's), OSError (it did not come up).
    """
    folder = folder.resolve()
    if "'" in str(folder):
        raise OSError(f"RabbitMQ never gets up in a folder with an apostrophe in its name: move {folder}")
    release = releases.chosen()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    records.claim(folder, STOP_TIMEOUT_S)
    for attempt in range(3):
        numbers = records.ports(folder, _PORTS)
        if membership is not None:
            numbers |= {"epmd": membership.epmd_port}
        _configure(folder, name, numbers, membership)
        try:
            return _boot(folder, release, name, numbers, own_epmd=membership is None)
        except _PortTaken:
            # Another process listened between our look and the node's: take other ports.
            records.forget_ports(folder)
            if attempt == 2:
                raise
    raise AssertionError


def stop(folder: Path) -> bool:
    """Stop the node of this folder and its epmd, whoever started it; False when none was running."""
    folder = folder.resolve()
    if records.alive(folder):
        _drop_statistics_handler(folder)
    return records.end(folder, STOP_TIMEOUT_S)


def _drop_statistics_handler(folder: Path) -> None:
    # A stopping node calls this handler, which waits 5 s for the application controller, which waits for the
    # handler. Without it a stop takes a second; where the call fails, the stop is only slower.
    release = releases.remembered(folder)
    if release.root is None and shutil.which("erl_call") is None:
        return
    numbers = records.ports_now(folder)
    environment = _environment(release.seen(folder), (folder / "name").read_text(), numbers)
    call = "gen_event delete_handler [rabbit_event, rabbit_mgmt_db_handler, []]"
    node = environment["RABBITMQ_NODENAME"]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            release.command(folder, "erl_call", "-sname", node, "-a", call),
            env=environment,
            check=False,
            capture_output=True,
            timeout=5,
        )


class _PortTaken(OSError):
    pass


def _configure(folder: Path, name: str, numbers: dict[str, int], membership: Membership | None) -> None:
    for part in ("home", "data", "log"):
        (folder / part).mkdir(exist_ok=True, mode=0o700)
    cookie = folder / "home" / ".erlang.cookie"
    if membership is not None and not cookie.exists():
        records.write_secret(cookie, membership.cookie, mode=0o400)
        records.write_secret(folder / "password", membership.password)
    config = _CONFIG.format(host=ports.HOST, frame_max=FRAME_MAX_BYTES, password=_password(folder), **numbers)
    if membership is not None:
        nodes = (f"{name}@localhost" for name in (*membership.peers, name))
        discovery = (
            f"cluster_formation.classic_config.nodes.{n} = {node}" for n, node in enumerate(nodes, 1)
        )
        config += _CLUSTER_CONFIG + "\n".join((*discovery, ""))
    records.write_secret(folder / "rabbitmq.conf", config)
    (folder / "name").write_text(name)
    (folder / "advanced.config").write_text("[].\n")
    (folder / "enabled_plugins").write_text(PLUGINS)
    if not cookie.exists():
        records.write_secret(cookie, secrets.token_hex(20), mode=0o400)


def _password(folder: Path) -> str:
    return records.secret(folder / "password")


def _environment(folder: Path, name: str, numbers: dict[str, int]) -> dict[str, str]:
    # What a shell or another node set must not steer this one.
    foreign = ("RABBITMQ_", "ERL_", "NOTIFY_SOCKET", "XDG_", "CONF_ENV_FILE")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return inherited | {
        "HOME": f"{folder}/home",
        "ERL_CRASH_DUMP": f"{folder}/log/erl_crash.dump",
        "ERL_EPMD_ADDRESS": ports.HOST,
        "ERL_EPMD_PORT": str(numbers["epmd"]),
        "RABBITMQ_NODENAME": f"{name}@localhost",
        "RABBITMQ_DIST_PORT": str(numbers["distribution"]),
        "RABBITMQ_MNESIA_BASE": f"{folder}/data",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_PID_FILE": f"{folder}/rabbitmq.pid",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
        "RABBITMQ_CONFIG_FILES": f"{folder}/conf.d",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
        "RABBITMQ_CONF_ENV_FILE": f"{folder}/rabbitmq-env.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +B i",
        # The script becomes the node instead of staying its parent: one process, one pid, one SIGTERM.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def _boot(
    folder: Path, release: releases.Release, name: str, numbers: dict[str, int], *, own_epmd: bool
) -> RabbitNode:
    release.remember(folder)
    environment = _environment(release.seen(folder), name, numbers)
    console = folder / "log" / "console.log"
    console.unlink(missing_ok=True)
    open_files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1] % (1 << 63) or OPEN_FILES, OPEN_FILES)
    if own_epmd:
        start_epmd(folder, release, numbers["epmd"])
    server = release.command(folder, release.server)
    node = processes.spawn(server, environment=environment, log=console, open_files=open_files)
    records.add(folder, node)
    try:
        _wait_until_ready(node, numbers, _password(folder), console)
    except BaseException:
        stop(folder)
        raise
    return _describe(folder, node.pid, open_files, numbers)


def start_epmd(folder: Path, release: releases.Release, port: int) -> None:
    """Were there none, the first node would start one that outlives it. The folder has to be claimed."""
    command = release.command(folder, "epmd", "-address", ports.HOST, "-port", str(port))
    environment = {"PATH": os.environ["PATH"], "ERL_EPMD_ADDRESS": ports.HOST, "ERL_EPMD_PORT": str(port)}
    records.add(folder, processes.spawn(command, environment=environment, log=folder / "epmd.log"))


def _describe(folder: Path, pid: int, open_files: int, numbers: dict[str, int]) -> RabbitNode:
    login = f"guest:{_password(folder)}@{ports.HOST}"
    return RabbitNode(
        folder=folder,
        amqp_url=f"amqp://{login}:{numbers['amqp']}//",
        stream_url=f"rabbitmq-stream://{login}:{numbers['stream']}/%2f",
        management_url=f"http://{login}:{numbers['management']}",
        prometheus_url=f"http://{ports.HOST}:{numbers['prometheus']}/metrics",
        pid=pid,
        open_files=open_files,
    )


def _wait_until_ready(node: processes.Process, numbers: dict[str, int], password: str, console: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _listens(numbers, password):
        if not node.alive():
            said = console.read_text(errors="replace")
            if "eaddrinuse" in said:
                raise _PortTaken(f"another process took a port of the node, see {console}")
            raise OSError(f"RabbitMQ ended while starting: {said.strip()[-400:] or 'see'} ({console.parent})")
        if time.monotonic() > deadline:
            raise OSError(f"RabbitMQ was not ready after {START_TIMEOUT_S:.0f} s, see {console.parent}")
        time.sleep(0.05)


def _listens(numbers: dict[str, int], password: str) -> bool:
    """True when the node itself says that it listens for AMQP and for streams; it knows of its peers too."""
    login = b64encode(f"guest:{password}".encode()).decode()
    request = urllib.request.Request(
        f"http://{ports.HOST}:{numbers['management']}/api/overview",
        headers={"Authorization": f"Basic {login}"},
    )
    try:
        with _DIRECT.open(request, timeout=5) as answer:
            overview = json.load(answer)
    except (OSError, ValueError):
        return False
    listening = {(listener["protocol"], listener["port"]) for listener in overview.get("listeners", [])}
    return {(protocol, numbers[protocol]) for protocol in ("amqp", "stream")} <= listening


# A proxy named in the environment has no business with a loopback address.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main(arguments: list[str]) -> int:
    return records.command("rabbitmq", arguments, start=_start_detached, stop=stop)


def _start_detached(folder: Path) -> dict[str, str]:
    node = start(folder)
    records.detach(node.folder)
    return {
        "BROKER_URL": node.amqp_url,
        "STREAM_URL": node.stream_url,
        "management": node.management_url,
        "prometheus": node.prometheus_url,
        "open files": f"{node.open_files} (a stream takes 2)",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
