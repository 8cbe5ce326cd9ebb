"""All floors, one after another, on the bench's servers."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from bench.floors import pure, rows
from bench.installation.processes import Started
from bench.installation.servers import Servers, plain
from bench.load.generator import Generator
from bench.load.posting import Target
from bench.load.workload import SDK, Kind
from bench.measuring import account
from bench.measuring.figures import LOAD
from bench.measuring.measure import NotCounted
from deploy.local import ports

_READY_WITHIN_S = 30.0
DECODED = (
    SDK,
    Kind(),
    Kind(form="ndjson", encoding="gzip"),
    Kind(form="otlp", encoding="gzip"),
)
_TOGETHER = 32  # messages a publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """The handler that does nothing, under gunicorn's gthread, with bodies of `batch`; CPU of a request."""

    batch: str
    requests_per_s: float
    ack_ms: dict[str, float]
    receiver_cpu_ms: float
    load_cpu_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """CPU seconds per million events, of spans of SDKs unless the name says otherwise."""

    empty: Empty
    batch: str
    publish_messages_per_s: float
    publish_client: float
    publish_broker: float
    decode: dict[str, float]  # by the name of the batches
    group: float
    pipeline: float  # ours, whole: for comparison, not a floor
    copy_client: float
    copy_server: float
    rows_per_1000_events: float

    @property
    def sum_cpu_s(self) -> float:
        """Of an event's way on PostgreSQL, each part once."""
        received = self.empty.receiver_cpu_ms * 1e3 / SDK.events
        published = self.publish_client + self.publish_broker
        loaded = self.copy_client + self.copy_server
        return received + published + self.decode[SDK.name] + self.group + loaded


def measure(servers: Servers, generator: Generator, *, seconds: float, empty_s: float) -> Floors:
    """Takes about twelve times `seconds` and twice `empty_s`."""
    batches = {kind.name: pure.window(kind) for kind in DECODED}
    decode = {name: pure.decode(window, seconds=seconds) for name, window in batches.items()}
    sdk = batches[SDK.name]
    left = pure.results(sdk)
    url = servers.new_database("floors")
    copied = rows.copy(plain(url), servers.postgres.pid, left, seconds=seconds)
    servers.postgres.drop_database(Path(url).name)
    size = len(sdk[0].body)
    published, broker_cpu_s = _publish(servers, seconds, size)
    million = 1e6 / pure.WINDOW_EVENTS
    return Floors(
        empty=_empty(servers, generator, empty_s),
        batch=SDK.name,
        publish_messages_per_s=published["messages_per_s"],
        publish_client=published["client_cpu_s_per_message"] * 1e6 / SDK.events,
        publish_broker=broker_cpu_s * 1e6 / SDK.events,
        decode=decode,
        group=pure.group(sdk, seconds=seconds),
        pipeline=pure.pipeline(sdk, seconds=seconds),
        copy_client=copied.client_cpu_s * million,
        copy_server=copied.server_cpu_s * million,
        rows_per_1000_events=copied.rows / pure.WINDOW_EVENTS * 1e3,
    )


def _publish(servers: Servers, seconds: float, size: int) -> tuple[dict[str, float], float]:
    """What the client says, and the broker's CPU seconds a message."""
    environment = {"BROKER_URL": servers.node.amqp_url, "STREAM_URL": servers.node.stream_url}
    started = Started(folder=servers.folder, mark=servers.mark, environment=environment)
    before = account.used([servers.node.pid])
    said = json.loads(
        started.run("-m", "bench.floors.publish", str(seconds), str(_TOGETHER), str(size)).stdout
    )
    used = account.used([servers.node.pid]) - before
    return said, used.cpu_s / said["messages"]


def command_line(port: int) -> str:
    """The empty handler on a port, as gunicorn's documentation advises for one with threads."""
    return (
        "gunicorn -w 2 -k gthread --threads 32 --keep-alive 75 --no-control-socket"
        f" --bind {ports.HOST}:{port} bench.floors.empty:app"
    )


def _empty(servers: Servers, generator: Generator, seconds: float) -> Empty:
    [port] = ports.free(1)
    generator.prepare(SDK, 1_000)
    folder = servers.folder / "empty"
    folder.mkdir()
    started = Started(folder=folder, mark=servers.mark, environment={})
    try:
        started.start("receiver", command_line(port))
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ports.accepts(port):
            started.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the empty handler did not start: {started.log_end('receiver')}")
            time.sleep(0.1)
        roles = {"receiver": [started.pid("receiver")], LOAD: [generator.pid]}
        before = account.by_role(roles)
        generator.post([Target(host=ports.HOST, port=port)], connections=32, seconds=seconds, repeat=True)
        while (answer := generator.answered(1.0)) is None:
            started.check()
        used = account.since(before, account.by_role(roles))
    finally:
        started.stop()
    if answer["problems"]:
        raise NotCounted(f"the empty handler: {answer['problems']}")
    requests = answer["accepted"]
    return Empty(
        batch=SDK.name,
        requests_per_s=answer["accepted"] / answer["elapsed_s"],
        ack_ms=answer["latency_ms"],
        receiver_cpu_ms=used["receiver"].cpu_s / requests * 1e3,
        load_cpu_ms=used[LOAD].cpu_s / requests * 1e3,
    )
