"""The senders of the matrix: how each is run, and what may stand between it and the receiver."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import install, ports
from tests import nginx
from tests.browsers import setup as pages
from tests.receiver import stop, until
from tests.senders import setups

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
HAPROXY = HERE / "haproxy.cfg"

Between = Callable[[int, str], AbstractContextManager[int]]
"""Takes the receiver's port and the customer's key; gives the port that the sender sends to."""


@contextmanager
def nothing(port: int, key: str) -> Iterator[int]:
    yield port


@contextmanager
def behind_nginx(port: int, key: str) -> Iterator[int]:
    """As deploy/nginx has it."""
    setups.system("nginx")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # its workers are another user
        with nginx.running(install.nginx() or "", Path(folder), port) as own:
            yield own


@contextmanager
def behind_haproxy(port: int, key: str) -> Iterator[int]:
    setups.system("haproxy")
    [own] = ports.free(1)
    command = [install.haproxy() or "", "-db", "-f", str(HAPROXY)]
    with _started(command, {"LISTEN_PORT": str(own), "RECEIVER_PORT": str(port)}, own):
        yield own


@contextmanager
def behind_rotel(port: int, key: str) -> Iterator[int]:
    """A collector, which answers first and sends on afterwards."""
    own, grpc = ports.free(2)
    binary = next(setups.ensure("rotel").glob("lib/python*/site-packages/rotel/rotel-agent"))
    binary.chmod(0o755)
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "PID_FILE": f"{folder}/pid",
            "LOG_FILE": f"{folder}/log",
            "OTLP_HTTP_ENDPOINT": f"127.0.0.1:{own}",
            "OTLP_GRPC_ENDPOINT": f"127.0.0.1:{grpc}",
            "EXPORTER": "otlp",
            "OTLP_EXPORTER_PROTOCOL": "http",
            "OTLP_EXPORTER_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTLP_EXPORTER_CUSTOM_HEADERS": f"Authorization=Bearer {key}",
            "OTLP_EXPORTER_COMPRESSION": "gzip",
            "OTLP_EXPORTER_RETRY_INITIAL_BACKOFF": "1s",
            "BATCH_TIMEOUT": "10ms",
        }
        with _started(
            [str(binary), "start"], {f"ROTEL_{name}": value for name, value in settings.items()}, own
        ):
            yield own


@contextmanager
def _started(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, env=os.environ | environment, start_new_session=True)
    try:
        until(lambda: ports.accepts(port), command[0])
        yield
    finally:
        stop(process)


@dataclass(frozen=True, kw_only=True)
class KnownSender:
    """A row of the matrix. `command` makes the set-up and says what to run; raises setups.SetupMissing.

    `logs`: it sends log records. `public`: it has a public key. `answers_first`: what stands between answers
    before it has sent on, and may drop later.
    """

    name: str
    sends: str
    command: Callable[[], list[str]]
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    between: Between = nothing
    between_version: Callable[[], str] | None = None
    answers_first: bool = False
    logs: bool = False
    public: bool = False

    def key(self) -> str:
        """Its name where names are short."""
        return self.name.lower().translate(str.maketrans(" ,()", "----"))


def _said(pattern: str, *command: str) -> str:
    """The version that a program tells of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"


def _rotel_version() -> str:
    found = next(setups.ensure("rotel").glob("lib/python*/site-packages/rotel-*.dist-info"))
    return found.name.removeprefix("rotel-").removesuffix(".dist-info")


def _python(setup: str, program: str = "spans.py") -> Callable[[], list[str]]:
    return lambda: [str(setups.ensure(setup) / "bin" / "python"), str(PROGRAMS / program)]


def _node(setup: str, program: str) -> Callable[[], list[str]]:
    def command() -> list[str]:
        modules = setups.ensure(setup) / "node_modules"
        return ["env", f"NODE_PATH={modules}", str(setups.node()), str(PROGRAMS / program)]

    return command


def _ours(program: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, str(PROGRAMS / program)]


def _curl() -> list[str]:
    setups.system("curl")
    return _ours("curl.py")()


def _page() -> list[str]:
    try:
        program, script = pages.chromium(), pages.script()
    except install.PackageMissing as missing:
        raise setups.SetupMissing(str(missing)) from missing
    return [*_ours("page.py")(), program, str(script.parent)]


GZIP = {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
# By default both give an export up after ten seconds, retries included. Python counts in seconds, Node in ms.
PATIENT_PYTHON = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
PATIENT_NODE = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60000"}
PROTOBUF, JSON, ARROW, NDJSON = "OTLP, protobuf", "OTLP, JSON", "Arrow", "NDJSON"
LOGS = "OTLP logs"
WEB_SDK = "OpenTelemetry SDK for the web, in Chromium"

SDKS = (
    KnownSender(
        name="OpenTelemetry SDK for Python 1.20",
        sends=f"{PROTOBUF}, gzip",
        command=_python("python-1.20"),
        environment=GZIP | PATIENT_PYTHON,
    ),
    KnownSender(
        name="OpenTelemetry SDK for Python, newest",
        sends=f"{PROTOBUF}, gzip",
        command=_python("python-newest"),
        environment=GZIP | PATIENT_PYTHON,
    ),
    KnownSender(
        name="OpenTelemetry SDK for Node 0.26, protobuf",
        sends=PROTOBUF,
        command=_node("node-0.26", "spans.js"),
        arguments=("protobuf",),
    ),
    KnownSender(
        name="OpenTelemetry SDK for Node 0.26, JSON",
        sends=JSON,
        command=_node("node-0.26", "spans.js"),
        arguments=("json",),
    ),
    KnownSender(
        name="OpenTelemetry SDK for Node, newest, protobuf",
        sends=f"{PROTOBUF}, gzip",
        command=_node("node-newest", "spans.js"),
        arguments=("protobuf",),
        environment=GZIP | PATIENT_NODE,
    ),
    KnownSender(
        name="OpenTelemetry SDK for Node, newest, JSON",
        sends=JSON,
        command=_node("node-newest", "spans.js"),
        arguments=("json",),
        environment=PATIENT_NODE,
    ),
    KnownSender(
        name="OpenTelemetry SDK for Python 1.20, logs",
        sends=f"{LOGS}, protobuf, gzip",
        command=_python("python-1.20", "logs.py"),
        environment=GZIP | PATIENT_PYTHON,
        logs=True,
    ),
    KnownSender(
        name="OpenTelemetry SDK for Python, newest, logs",
        sends=f"{LOGS}, protobuf, gzip",
        command=_python("python-newest", "logs.py"),
        environment=GZIP | PATIENT_PYTHON,
        logs=True,
    ),
    KnownSender(
        name="OpenTelemetry SDK for Node, newest, logs, protobuf",
        sends=f"{LOGS}, protobuf",
        command=_node("node-newest", "logs.js"),
        arguments=("protobuf",),
        environment=PATIENT_NODE,
        logs=True,
    ),
    KnownSender(
        name="OpenTelemetry SDK for Node, newest, logs, JSON",
        sends=f"{LOGS}, JSON",
        command=_node("node-newest", "logs.js"),
        arguments=("json",),
        environment=PATIENT_NODE,
        logs=True,
    ),
)
"""They run in `make test`."""

OTHERS = (
    KnownSender(name=WEB_SDK, sends=JSON, command=_page, public=True),
    KnownSender(name="polars", sends=ARROW, command=_ours("polars_arrow.py")),
    KnownSender(name="apache-arrow for JavaScript", sends=ARROW, command=_node("arrow-js", "arrow.js")),
    KnownSender(name="curl", sends=NDJSON, command=_curl),
    KnownSender(name="curl, HTTP/1.0", sends=NDJSON, command=_curl, arguments=("--http1.0",)),
    KnownSender(
        name="nginx, from the newest SDK for Python",
        sends=PROTOBUF,
        command=_python("python-newest"),
        environment=PATIENT_PYTHON,
        between=behind_nginx,
        between_version=lambda: _said(r"nginx/([0-9.]+)", install.nginx() or "", "-v"),
    ),
    KnownSender(
        name="haproxy, from the newest SDK for Python",
        sends=PROTOBUF,
        command=_python("python-newest"),
        environment=PATIENT_PYTHON,
        between=behind_haproxy,
        between_version=lambda: _said(r"version ([0-9.]+)", install.haproxy() or "", "-v"),
    ),
    KnownSender(
        name="rotel, from the newest SDK for Python",
        sends=f"{PROTOBUF}, gzip",
        command=_python("python-newest"),
        environment=PATIENT_PYTHON,
        between=behind_rotel,
        between_version=_rotel_version,
        answers_first=True,
    ),
)
"""They run in `make senders` only."""
