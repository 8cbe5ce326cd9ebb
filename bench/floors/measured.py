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
from bench.load.workload import Kind
from bench.measuring import account
from bench.measuring.figures import LOAD
from bench.measuring.measure import NotCounted
from deploy.local import ports

_READY_WITHIN_S = 30.0
_TOGETHER = 32  # messages a publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """The handler that does nothing; CPU in s per million events of 1,000 a batch."""

    requests_per_s: float
    ack_ms: dict[str, float]
    receiver_cpu_s: float
    load_cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """CPU seconds per million events, 1,000 a batch, Arrow with zstd unless the name says otherwise."""

    empty: Empty
    publish_messages_per_s: float
    publish_client: float
    publish_broker: float
    decode: dict[str, float]  # by format
    group: float
    pipeline: float  # ours, whole: for comparison, not a floor
    copy_client: float
    copy_server: float
    executemany: float
    rows_per_1000_events: float

    @property
    def sum_cpu_s(self) -> float:
        """Of an event's way on PostgreSQL, each part once."""
        published = self.publish_client + self.publish_broker
        loaded = self.copy_client + self.copy_server
        return self.empty.receiver_cpu_s + published + self.decode["arrow"] + self.group + loaded


def measure(servers: Servers, generator: Generator, *, seconds: float, empty_s: float) -> Floors:
    """Takes about twelve times `seconds` and twice `empty_s`."""
    batches = {
        form: pure.window(Kind(form=form, encoding=encoding))
        for form, encoding in (("arrow", "zstd"), ("ndjson", "gzip"), ("otlp", "gzip"))
    }
    decode = {form: pure.decode(window, seconds=seconds) for form, window in batches.items()}
    left = pure.results(batches["arrow"])
    url = servers.new_database("floors")
    copied = rows.copy(plain(url), servers.postgres.pid, left, seconds=seconds)
    servers.postgres.drop_database(Path(url).name)
    inserted = rows.executemany(servers.folder / "floors.db", left, seconds=seconds)
    size = len(batches["arrow"][0].body)
    published, broker_cpu_s = _publish(servers, seconds, size)
    million = 1e6 / pure.WINDOW_EVENTS
    return Floors(
        empty=_empty(servers, generator, empty_s),
        publish_messages_per_s=published["messages_per_s"],
        publish_client=published["client_cpu_s_per_message"] * 1e3,
        publish_broker=broker_cpu_s * 1e3,
        decode=decode,
        group=pure.group(batches["arrow"], seconds=seconds),
        pipeline=pure.pipeline(batches["arrow"], seconds=seconds),
        copy_client=copied.client_cpu_s * million,
        copy_server=copied.server_cpu_s * million,
        executemany=inserted.client_cpu_s * million,
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


def _empty(servers: Servers, generator: Generator, seconds: float) -> Empty:
    [port] = ports.free(1)
    kind = Kind()
    generator.prepare(kind, 500)
    folder = servers.folder / "empty"
    folder.mkdir()
    settings = {"SLUICE_HTTP_BIND": f"{ports.HOST}:{port}"}
    started = Started(folder=folder, mark=servers.mark, environment=settings)
    try:
        started.start("receiver", "gunicorn -c python:bench.floors.empty bench.floors.empty:app")
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
    events = answer["events"]
    return Empty(
        requests_per_s=answer["accepted"] / answer["elapsed_s"],
        ack_ms=answer["latency_ms"],
        receiver_cpu_s=used["receiver"].cpu_s / events * 1e6,
        load_cpu_s=used[LOAD].cpu_s / events * 1e6,
    )
