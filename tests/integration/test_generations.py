"""Streams that were cut or replaced under a ledger that knows more of them, or something else."""

import itertools
import json
import secrets
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from db.ledger import workers
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, processed, raw
from tests.envelopes import envelope
from tests.integration.test_whole import event, ndjson, scalar, settled
from tests.whole import Whole, running, until

pytestmark = pytest.mark.timeout(600)
DEADLINE_S = 30.0
DAY_US = 86_400_000_000
RETENTION = {"max_bytes": 512 * 1024 * 1024, "max_age_s": 7 * 86_400, "segment_bytes": 128 * 1024 * 1024}


@dataclass(kw_only=True)
class Case:
    """What happens to one customer's raw stream after five batches of it were dispatched."""

    kind: str  # cut before the fifth batch, or replaced
    open: bool  # whether the fourth and the fifth batch are in flight meanwhile
    regrown: bool  # whether the stream reaches past the cursor again before anybody looks
    remembered: bool  # whether the batch ids are
    slug: str = field(default_factory=lambda: f"t-{secrets.token_hex(6)}")
    messages: list[bytes] = field(default_factory=list)

    def __str__(self) -> str:
        words = (self.kind, *(name for name in ("open", "regrown", "remembered") if getattr(self, name)))
        return " ".join(words)

    @property
    def new(self) -> int:
        """Batches that come after the stream was cut or replaced, before anybody looks."""
        return 7 if self.regrown else 1

    @property
    def survive(self) -> int:
        return 4 if self.kind == "cut" else 0

    @property
    def lost(self) -> int:
        return (5 - max(self.survive, 3)) if self.open else 0

    def outcome(self, *, resent_counts: bool) -> dict[str, object]:
        """What books, verify and the results have to say once all has settled and the fifth was resent."""
        return {
            "kinds": [self.kind],
            "from": [self.survive],
            "expired": self.lost,
            "duplicates": 0 if resent_counts else 1,
            "events": 5 - self.lost + self.new + resent_counts,
            "balanced": True,
            "results": 0,
            "verified": (0, [self.kind], self.survive + self.new + 1, []),
        }


def cases() -> list[Case]:
    yes_and_no = (True, False)
    return [
        Case(kind=kind, open=opened, regrown=regrown, remembered=remembered)
        for kind, opened, regrown, remembered in itertools.product(
            ("cut", "replaced"), yes_and_no, yes_and_no, yes_and_no
        )
    ]


def message(slug: str, *, days_ago: int = 0) -> bytes:
    """A batch of one event."""
    body, accepted = ndjson(event(secrets.token_hex(16))), time.time_ns() // 1000 - days_ago * DAY_US
    return envelope(slug, secrets.token_hex(8), body, accepted_at_us=accepted)


def publish(broker: Broker, slug: str, messages: list[bytes]) -> None:
    broker.publish_all(raw(slug), messages, deadline_s=DEADLINE_S)


def recreate(broker: Broker, stream: str, messages: list[bytes]) -> None:
    """Another stream of the same name."""
    broker.delete(stream)
    broker.declare(stream, **RETENTION)
    if messages:
        broker.publish_all(stream, messages, deadline_s=DEADLINE_S)


def others(engine: Engine) -> None:
    """Let the dispatcher believe for some seconds in a worker, so that it records windows without any."""
    with engine.begin() as connection:
        workers.beat(connection, "elsewhere", time.time_ns() // 1000, processes=2)


def cursor(engine: Engine, slug: str) -> int:
    query = "SELECT next_offset FROM dispatch JOIN customers ON id = customer_id WHERE slug = :slug"
    return int(scalar(engine, query, slug=slug))


def events(engine: Engine, slug: str) -> int:
    query = "SELECT sum(events) FROM interactions JOIN customers ON id = customer_id WHERE slug = :slug"
    return int(scalar(engine, query, slug=slug) or 0)


def dispatched(engine: Engine, slug: str, batches: int) -> None:
    def done() -> bool:
        others(engine)
        return cursor(engine, slug) == batches

    until(done, f"{slug}: the dispatch of {batches} batches")


def counted(engine: Engine, slug: str, batches: int) -> None:
    until(lambda: events(engine, slug) == batches, f"{slug}: {batches} events in the results")


def forget(engine: Engine, slug: str) -> None:
    """Forget the customer's batch ids, as pruning does with old ones."""
    with engine.begin() as connection:
        of = "(SELECT id FROM customers WHERE slug = :slug)"
        connection.execute(text(f"DELETE FROM batches WHERE customer_id = {of}"), {"slug": slug})


def found(whole: Whole, engine: Engine, slug: str) -> dict[str, object]:
    books = whole.books(slug)["customers"][0]
    return {
        "kinds": [one["kind"] for one in books["generations"]],
        "from": [one["from_offset"] for one in books["generations"]],
        "expired": books["expired"],
        "duplicates": books["duplicates"],
        "events": events(engine, slug),
        "balanced": books["balanced"],
        "results": whole.flask("books", "--results", "--customer", slug, check=False).returncode,
        "verified": verified(whole, slug),
    }


def verified(whole: Whole, slug: str) -> tuple[object, ...]:
    """What the proof's exit code was, what it says of the stream, and how much of it it has read."""
    answer = whole.flask("verify", slug, "--json", check=False)
    proof = json.loads(answer.stdout)
    kinds = [one["kind"] for one in proof["generations"]]
    return answer.returncode, kinds, proof["read"], proof["differences"]


def test_a_raw_stream_that_was_cut_or_replaced_loses_and_doubles_nothing(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, broker: Broker
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, SLUICE_TASK_WINDOWS_PER_PROCESS="16", **urls) as whole:
        every = cases()
        for case in every:
            whole.add_customer(case.slug)
            days = 0 if case.remembered else 30
            case.messages = [message(case.slug, days_ago=days) for _ in range(5)]
            publish(broker, case.slug, case.messages[: 3 if case.open else 5])
        for case in every:
            until(partial(settled, whole, case.slug), f"{case}: the first deposits")
        whole.kill("worker", signal.SIGTERM)
        for case in every:
            if case.open:
                publish(broker, case.slug, case.messages[3:])
        for case in every:
            dispatched(engine, case.slug, 5)
        whole.kill("dispatcher", signal.SIGTERM)

        for case in every:
            if not case.remembered:
                forget(engine, case.slug)
            grown = [message(case.slug) for _ in range(case.new)]
            recreate(broker, raw(case.slug), [*case.messages[: case.survive], *grown])
        whole.start("dispatcher")
        whole.start("worker", "-n", f"again-{whole.port}@%h")
        for case in every:
            until(partial(settled, whole, case.slug), f"{case}: balanced books")
        for case in every:
            publish(broker, case.slug, case.messages[4:])
        for case in every:
            dispatched(engine, case.slug, case.survive + case.new + 1)
            until(partial(settled, whole, case.slug), f"{case}: balanced books at the end")
        wanted = {
            str(case): case.outcome(resent_counts=case.lost > 0 or not case.remembered) for case in every
        }
        assert {str(case): found(whole, engine, case.slug) for case in every} == wanted
        cut, replaced = (
            next(one for one in every if one.open and one.kind == kind) for kind in ("cut", "replaced")
        )
        for command in (["books", "--customer"], ["verify"]):
            said = whole.flask(*command, cut.slug).stdout
            assert "had lost all from offset 4 on (the cursor was at 5); 1 batches of open windows" in said
            said = whole.flask(*command, replaced.slug).stdout
            assert (
                "was another one; all that it held was read (the cursor was at 5); 2 batches of open" in said
            )


@dataclass(frozen=True, kw_only=True)
class ResultsCase:
    """What happens to one customer's processed stream after three windows were deposited."""

    kind: str
    open: bool  # whether a fourth window is in flight meanwhile
    regrown: bool
    remembered: bool  # whether the batch ids are
    slug: str = field(default_factory=lambda: f"t-{secrets.token_hex(6)}")

    def batch(self) -> bytes:
        """One whose id has to be remembered, or one that is older."""
        return message(self.slug, days_ago=0 if self.remembered else 30)


def test_a_processed_stream_that_was_cut_or_replaced_loses_and_doubles_nothing(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, broker: Broker
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    every = [
        ResultsCase(kind=kind, open=opened, regrown=grown, remembered=remembered)
        for kind, opened, grown, remembered in itertools.product(
            ("cut", "replaced"), (True, False), (True, False), (True, False)
        )
    ]
    # Results of groups go through no processed stream.
    settings = {
        "SLUICE_TASK_STALE_AFTER_S": "3",
        "SLUICE_TASK_WINDOWS_PER_PROCESS": "16",
        "SLUICE_TASK_GROUP_WINDOWS": "1",
    }
    with running(tmp_path, **settings, **urls) as whole:
        for case in every:
            whole.add_customer(case.slug)
        for batches in range(1, 4):
            for case in every:
                publish(broker, case.slug, [case.batch()])
            for case in every:
                counted(engine, case.slug, batches)
        whole.kill("worker", signal.SIGTERM)
        for case in every:
            if case.open:
                publish(broker, case.slug, [case.batch()])
        for case in every:
            dispatched(engine, case.slug, 3 + case.open)
            if not case.remembered:
                forget(engine, case.slug)
            old = broker.read(processed(case.slug), 0, 2, deadline_s=DEADLINE_S)
            kept = [bytes(one.data) for one in old][: 2 if case.kind == "cut" else 0]
            grown = [bytes(old[0].data)] * 4 if case.regrown else []
            recreate(broker, processed(case.slug), kept + grown)
        whole.start("worker", "-n", f"again-{whole.port}@%h")
        for case in every:
            publish(broker, case.slug, [message(case.slug)])
        for case in every:
            counted(engine, case.slug, 4 + case.open)
            until(partial(settled, whole, case.slug), f"{case}: balanced books")
            assert verified(whole, case.slug) == (0, [], 4 + case.open, []), case
            assert whole.flask("books", "--results", "--customer", case.slug, check=False).returncode == 0
            assert events(engine, case.slug) == 4 + case.open
