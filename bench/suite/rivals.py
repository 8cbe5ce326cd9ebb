"""The peers as subjects of a measurement, on the same broker and database server as Sluice."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kombu import Connection, Exchange, Queue
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from bench.agents.encode import Body
from bench.check.totals import Totals
from bench.installation.processes import Started
from bench.installation.servers import Servers, plain
from bench.load.generator import Generator
from bench.load.posting import Target
from bench.load.workload import SDK, Kind, Source
from bench.measuring import account
from bench.measuring.figures import LOAD, Cost, Run
from bench.measuring.measure import NotCounted
from bench.peers import collector, tables
from bench.places import ROOT
from deploy.local import ports

THIRD_PYTHON = ROOT / "var" / "peers" / "bin" / "python"
_COMMITTED = text("SELECT COALESCE(SUM(count), 0) FROM rollups")
_READY_WITHIN_S = 60.0
_STALLED_S = 60.0
_COLLECTED_SPANS = 50_000  # posted in a circle
_THIRD_QUEUE = "bench_third"
_THIRD_WARM_BATCHES = 20


@dataclass(kw_only=True)
class Peer:
    """A `measure.Subject`. What is in the roll-ups is committed: they change in the events' transaction."""

    name: str
    servers: Servers
    started: Started
    engine: Engine
    port: int = 0
    _before: int = 0

    def targets(self) -> list[Target]:
        return [Target(host=ports.HOST, port=self.port, path="/events")]

    def roles(self) -> dict[str, list[int]]:
        named = {"receiver": "receiver", "worker": "workers"}
        living = self.started.running()
        ours = {role: [self.started.pid(name)] for name, role in named.items() if name in living}
        return ours | self.servers.roles()

    def begin(self) -> None:
        self.started.check()
        self._before = self._rolled_up()

    def committed(self) -> int:
        return self._rolled_up() - self._before

    def check(self, events: int, totals: Totals | None = None) -> None:
        """The peer's books: as many events as were accepted."""
        if (found := self.committed()) != events:
            raise NotCounted(f"{self.name}: {events} events were accepted, {found} are in the database")

    def _rolled_up(self) -> int:
        try:
            with self.engine.connect() as connection:
                return int(connection.execute(_COMMITTED).scalar_one())
        except ProgrammingError:  # the table comes with the first load
            return 0


@contextlib.contextmanager
def celery_peer(servers: Servers, module: str) -> Iterator[Peer]:
    """A Flask application and a Celery worker with two processes, from one module of `bench.peers`."""
    with _peer(servers, module) as peer:
        tables.create(peer.engine)
        app = f"bench.peers.{module}"
        bind = f"{ports.HOST}:{peer.port}"
        peer.started.start(
            "receiver",
            "gunicorn -w 2 -k gthread --threads 32 --keep-alive 75 --no-control-socket"
            f" --bind {bind} {app}:app",
        )
        peer.started.start("worker", f"celery -A {app}:celery worker --loglevel=INFO --concurrency=2")
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ports.accepts(peer.port) or "ready." not in peer.started.log_end("worker"):
            peer.started.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{module} did not start: {peer.started.log_end('worker')}")
            time.sleep(0.1)
        yield peer


@contextlib.contextmanager
def third_peer(servers: Servers) -> Iterator[Peer]:
    """dlt, which reads what `_feed` puts into the broker. Raises FileNotFoundError when not installed."""
    if not THIRD_PYTHON.exists():
        raise FileNotFoundError(f"{THIRD_PYTHON.relative_to(ROOT)} is missing: `make bench` installs it")
    with _peer(servers, "third") as peer:
        peer.started.start("worker", f"{THIRD_PYTHON} -m bench.peers.third")
        yield peer


def measure_third(servers: Servers, batches: int) -> Run:
    """So many batches that wait in the queue, until the last one is loaded; the start of it not counted."""
    kind = SDK
    with third_peer(servers) as peer:
        source, events = Source(kind), batches * kind.events
        _work_off(peer, source.take(_THIRD_WARM_BATCHES), kind)
        bodies = source.take(batches)
        before, began = account.by_role(peer.roles()), time.monotonic()
        _work_off(peer, bodies, kind)
        seconds, used = time.monotonic() - began, account.since(before, account.by_role(peer.roles()))
    return Run(
        name="dlt",
        batch=kind.name,
        batch_events=kind.events,
        attributes=kind.attributes,
        seconds=seconds,
        events=events,
        events_per_s=events / seconds,
        requests_per_s=batches / seconds,
        cost=Cost.of(used, events),
        cores_used=sum(one.cpu_s for one in used.values()) / seconds,
        ack_ms={},
        retried=0,
        body_bytes_per_event=sum(len(body.content) for body in bodies) / events,
        lag_events=[],
    )


def _work_off(peer: Peer, bodies: list[Body], kind: Kind) -> None:
    """Feed the batches and wait until the last one is loaded."""
    peer.begin()
    _feed(peer.servers, bodies)
    wanted, moved, last = len(bodies) * kind.events, time.monotonic(), 0
    while (now := peer.committed()) < wanted:
        peer.started.check()
        if now != last:
            moved, last = time.monotonic(), now
        if time.monotonic() - moved > _STALLED_S:
            raise NotCounted(f"dlt: {now} of {wanted} events loaded, and no more")
        time.sleep(0.1)
    peer.check(wanted)


def _feed(servers: Servers, bodies: list[Body]) -> None:
    """Put batches into the third peer's queue, durable and confirmed."""
    queue = Queue(_THIRD_QUEUE, Exchange(""), routing_key=_THIRD_QUEUE, durable=True)
    with Connection(servers.node.amqp_url, transport_options={"confirm_publish": True}) as connection:
        producer = connection.Producer()
        for body in bodies:
            producer.publish(
                body.content,
                routing_key=_THIRD_QUEUE,
                declare=[queue],
                content_type="application/data",
                content_encoding="binary",
                delivery_mode=2,
            )


def measure_collector(servers: Servers, generator: Generator, kind: Kind, seconds: float) -> Run:
    """rotel, as fast as it answers: what it takes is thrown away, so that nothing is committed."""
    http, grpc = ports.free(2)
    folder = servers.folder / f"collector-{http}"
    folder.mkdir()
    started = Started(folder=folder, mark=servers.mark, environment={})
    generator.prepare(kind, max(1, _COLLECTED_SPANS // kind.events))
    try:
        line = collector.command(
            THIRD_PYTHON.parents[1], http=f"{ports.HOST}:{http}", grpc=f"{ports.HOST}:{grpc}"
        )
        started.start("receiver", line)
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ports.accepts(http):
            started.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"rotel did not start: {started.log_end('receiver')}")
            time.sleep(0.1)
        roles = {"receiver": [started.pid("receiver")], LOAD: [generator.pid]}
        before = account.by_role(roles)
        generator.post([Target(host=ports.HOST, port=http)], connections=32, seconds=seconds, repeat=True)
        while (answer := generator.answered(1.0)) is None:
            started.check()
        used = account.since(before, account.by_role(roles))
    finally:
        started.stop()
    if answer["problems"]:
        raise NotCounted(f"rotel: {answer['problems']}")
    return Run(
        name="rotel",
        batch=kind.name,
        batch_events=kind.events,
        attributes=kind.attributes,
        seconds=answer["elapsed_s"],
        events=answer["events"],
        events_per_s=answer["events"] / answer["elapsed_s"],
        requests_per_s=answer["accepted"] / answer["elapsed_s"],
        cost=Cost.of(used, answer["events"]),
        cores_used=sum(one.cpu_s for one in used.values()) / answer["elapsed_s"],
        ack_ms=answer["latency_ms"],
        retried=answer["retried"],
        body_bytes_per_event=answer["size"] / max(answer["events"], 1),
        lag_events=[],
    )


@contextlib.contextmanager
def _peer(servers: Servers, name: str) -> Iterator[Peer]:
    url = servers.new_database(name)
    folder = servers.folder / name
    folder.mkdir()
    environment = {
        "DATABASE_URL": plain(url) if name == "third" else url,
        "BROKER_URL": servers.node.amqp_url,
        "QUEUE": _THIRD_QUEUE,
        "PIPELINES_FOLDER": str(folder / "pipelines"),
        # It would tell its makers of every run.
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
        "PYTHONPATH": "" if name == "third" else os.environ.get("PYTHONPATH", ""),
    }
    started = Started(folder=folder, mark=servers.mark, environment=environment)
    engine = create_engine(url)
    try:
        yield Peer(name=name, servers=servers, started=started, engine=engine, port=ports.free(1)[0])
    finally:
        started.stop()
        engine.dispose()
        servers.postgres.drop_database(Path(url).name)
