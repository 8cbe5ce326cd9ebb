"""`flask customers delete` on a real database and broker: killed anywhere, repeated, and begun anew."""

import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import kombu
import pytest

from db.clock import now_us
from db.engine import begin
from db.ledger import workers
from deploy.local.rabbitmq import RabbitNode
from streams import processed, raw
from tests import receiver
from tests.commands import flask, flask_json
from tests.filled import Filled, everything, fill
from tests.receiver import ROOT, Home, Receiver, until
from webapp.terminal import deleted_customer
from webapp.terminal.exits import Exit

WHO = ("--by", "anna", "--why", "the contract ended")
BODY = b'{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}\n'
DIES = [
    ("db.customers.notes:add", "after"),
    ("webapp.terminal.deleted_customer:Deleting._wait", "after"),
    ("streams.broker:Broker.delete", "after"),
    ("streams.broker:Broker.remove_doorbells", "after"),
    ("db.customers.deletion:delete_slice", "after"),
    ("db.customers.deletion:finish", "before"),
    ("db.customers.deletion:finish", "after"),
]
"""Where the process dies: in a transaction, or between two steps."""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody serves this customer: there is no process to wait for."""
    monkeypatch.setattr(deleted_customer, "EVERYWHERE_S", 0.0)


@pytest.fixture
def mine(home: Home, slug: str) -> Filled:
    return fill(home, slug, f"secret-{secrets.token_hex(8)}")


def delete(slug: str, *words: str) -> tuple[str, ...]:
    return ("customers", "delete", slug, *WHO, *words)


def left(home: Home, filled: Filled) -> set[str]:
    """The tables and streams in which there is something of the customer."""
    slug = filled.customer.slug
    streams = {stream for stream in (raw(slug), processed(slug)) if home.broker.exists(stream)}
    return streams | {name for name, rows in tables(home, filled).items() if rows}


def tables(home: Home, filled: Filled) -> dict[str, list[str]]:
    found = everything(home, filled.customer, with_streams=False)
    return {name: rows for name, rows in found.items() if rows}


def queue(rabbitmq: RabbitNode, name: str) -> None:
    """Make a queue as a worker or a dispatcher does, with a doorbell in it."""
    with kombu.Connection(rabbitmq.amqp_url) as connection, connection.channel() as channel:
        kombu.Queue(name, durable=True).bind(channel).declare()
        connection.Producer().publish({}, routing_key=name)


def test_a_deletion_that_is_killed_anywhere_is_completed_by_the_next(
    home: Home, rabbitmq: RabbitNode, mine: Filled
) -> None:
    slug = mine.customer.slug
    other = fill(home, f"{slug}-other", f"secret-{secrets.token_hex(8)}")
    before = everything(home, other.customer)
    for name in (f"customer-{slug}", f"{slug}-left", f"customer-{slug}-other"):
        queue(rabbitmq, name)
    for place, when in DIES:
        command = [sys.executable, "-m", "tests.halted", place, when, "SIGKILL", *delete(slug, "--yes")]
        environment = receiver.bare_environment() | dict(home.environment)
        killed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120)
        assert killed.returncode == -signal.SIGKILL, (place, when, killed.stderr)
        assert flask(home, "books").exit_code in (Exit.OK, Exit.DIFFERS)
        assert everything(home, other.customer) == before, (place, when)

    done = flask(home, *delete(slug, "--yes", "--json"))
    assert done.exit_code == Exit.OK, done.stderr
    assert left(home, mine) == {"customer_notes"}
    assert everything(home, other.customer) == before
    assert set(home.broker.doorbells([f"customer-{slug}", f"{slug}-left", f"customer-{slug}-other"])) == {
        f"customer-{slug}-other"
    }
    (note,) = [
        one for one in flask_json(home, "customers", "history", slug)["notes"] if one["act"] == "delete"
    ]
    assert (note["who"], note["why"]) == ("anna", "the contract ended")
    assert note["ended_at"] is not None
    counts = note["changes"]["rows"]
    assert counts == {
        **dict.fromkeys(("batches", "events", "interactions", "windows", "usage", "costs"), 1),
        **dict.fromkeys(("rollups", "split_rollups", "exceptions", "logs", "log_rollups"), 1),
        **dict.fromkeys(("generations", "left_queues", "customer_keys", "quarantine_days"), 1),
        **dict.fromkeys(("public_keys", "public_key_use"), 1),
        **dict.fromkeys(("quarantine", "quarantine_notes", "pipelines"), 2),
    }
    again = flask(home, *delete(slug, "--yes"))
    assert (again.exit_code, "deleted already" in again.stderr) == (Exit.OK, True)
    assert flask(home, "customers", "show", slug).exit_code == Exit.NOT_FOUND


def test_a_deletion_is_asked_for_by_the_slug(home: Home, at_once: None, mine: Filled) -> None:
    slug = mine.customer.slug
    before = everything(home, mine.customer)
    assert flask(home, "customers", "delete", slug).exit_code == Exit.USAGE
    for answer in ("y\n", "\n", "", f"{slug}x\n"):
        refused = flask(home, *delete(slug), stdin=answer)
        assert (refused.exit_code, "nothing was deleted" in refused.stderr) == (Exit.REFUSED, True)
    assert everything(home, mine.customer) == before
    assert flask(home, *delete(slug), stdin=f"{slug}\n").exit_code == Exit.OK
    assert left(home, mine) == {"customer_notes"}
    assert flask(home, *delete("nobody-has-this", "--yes")).exit_code == Exit.NOT_FOUND


def test_the_same_slug_begins_anew(home: Home, at_once: None, mine: Filled) -> None:
    slug = mine.customer.slug
    assert flask(home, *delete(slug, "--yes")).exit_code == Exit.OK
    key = flask(home, "customers", "add", slug).stdout.strip()
    shown = flask_json(home, "customers", "show", slug)
    assert (shown["state"], shown["pipeline_version"], shown["last_note"]) == ("active", 1, None)
    assert shown["customer_id"] != mine.customer.id
    books = flask_json(home, "books", "--customer", slug)["customers"][0]
    assert (books["in_stream"], books["owed_batches"]) == (0, 0)
    assert key != mine.key
    acts = [note["act"] for note in flask_json(home, "customers", "history", slug)["notes"]]
    assert acts.count("delete") == 1
    assert flask(home, *delete(slug, "--yes")).exit_code == Exit.OK


@contextmanager
def interrupted(home: Home, slug: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The deletion has begun, and nothing was removed yet."""
    with monkeypatch.context() as patch:

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(deleted_customer.Deleting, "_wait", stop)
        assert flask(home, *delete(slug, "--yes")).exit_code != Exit.OK
    yield


def test_while_it_is_deleted_agents_are_refused_and_nothing_else_is_done_with_it(
    home: Home, receiver: Receiver, mine: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = mine.customer.slug
    assert receiver.post(mine.key, BODY).status_code == 202
    with interrupted(home, slug, monkeypatch):
        until(lambda: receiver.post(mine.key, BODY).status_code == 403, "the receiver to refuse it")
        assert flask_json(home, "customers", "show", slug)["state"] == "deleting"
        assert "deleting" in flask(home, "customers", "list").stdout
        refused = [
            *(["customers", name, slug] for name in ("pause", "resume", "block", "rotate-key")),
            *(["books", "--customer", slug], ["verify", slug], ["quarantine", "replay", "--customer", slug]),
            *(["customers", "add", slug], ["customers", "add", slug, "--exist-ok"]),
        ]
        for words in refused:
            said = flask(home, *words)
            assert (said.exit_code, "being deleted" in said.stderr) == (Exit.REFUSED, True), words
        assert slug not in flask(home, "lag").stdout
        assert slug not in flask(home, "books").stdout
    begun = flask_json(home, "customers", "history", slug)["notes"][-1]
    assert (begun["act"], begun["ended_at"]) == ("delete", None)
    monkeypatch.setattr(deleted_customer, "EVERYWHERE_S", 0.0)
    assert flask(home, *delete(slug)).exit_code == Exit.OK, "it is not asked for again"
    until(lambda: receiver.post(mine.key, BODY).status_code == 401, "the receiver to forget it")
    assert left(home, mine) == {"customer_notes"}, "no late batch made a stream again"


def test_a_worker_of_its_own_is_to_be_stopped_first(
    home: Home, at_once: None, mine: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, name = mine.customer.slug, f"own-{mine.customer.slug}@host"
    monkeypatch.setattr(deleted_customer, "SILENT_S", 1.0)

    def beat() -> None:
        with begin(home.engine) as conn:
            workers.beat(conn, name, now_us(conn), queues=[f"customer-{slug}"], dedicated=True, processes=1)

    stopped = threading.Event()

    def live() -> None:
        while not stopped.wait(0.1):
            beat()

    beat()
    worker = threading.Thread(target=live)
    worker.start()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(deleted_customer, "SILENT_S", 60.0)
            refused = flask(home, *delete(slug, "--yes"))
    finally:
        stopped.set()
        worker.join()
    assert (refused.exit_code, name in refused.stderr) == (Exit.REFUSED, True)
    assert flask_json(home, "customers", "show", slug)["state"] == "active"
    # One that was killed is silent.
    began = time.monotonic()
    assert flask(home, *delete(slug, "--yes")).exit_code == Exit.OK
    assert time.monotonic() - began >= 1.0


def test_a_queue_that_others_use_stays(home: Home, rabbitmq: RabbitNode, at_once: None, mine: Filled) -> None:
    slug = mine.customer.slug
    shared, own = f"{slug}-shared", f"{slug}-own"
    home.add(f"{slug}-other")
    for name, stage, to in (
        (slug, "decode", shared),
        (f"{slug}-other", "decode", shared),
        (slug, "process", own),
    ):
        assert flask(home, "customers", "route", name, stage, to).exit_code == Exit.OK
    for name in (shared, own):
        queue(rabbitmq, name)
    assert flask(home, *delete(slug, "--yes")).exit_code == Exit.OK
    assert set(home.broker.doorbells([shared, own])) == {shared}
