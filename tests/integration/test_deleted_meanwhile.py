"""What was under way for a customer when it was deleted: it ends, and nobody is told of an error."""

from collections.abc import Callable
from typing import Any

import pytest

from db.customers import deletion, rows as customers
from db.engine import begin, read
from db.ledger import windows
from db.ledger.windows import Work
from streams import processed, raw
from streams.errors import StreamMissing
from tasks.celery import app
from tasks.settings import TaskSettings
from tasks.stages import decode, deposit, process
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery
from tests.integration import ledger_rows
from tests.receiver import Home

FIRST = Delivery("some-id")
LATE: dict[str, Callable[[Context, Work], Any]] = {
    "reads": lambda context, work: decode._handed_on(context, work, lambda handover: handover),
    "publishes": lambda context, work: process.publish(context, decode.refuse(work, "too_large", "")),
    "deposits": lambda context, work: deposit.run(context, work.window.customer_id, work.window.id, FIRST),
}
"""What a task does that has looked at its window before."""


@pytest.fixture
def context(home: Home) -> Context:
    return Context(engine=home.engine, broker=home.broker, settings=TaskSettings(), app=app)


def under_way(home: Home, slug: str) -> Work:
    """A window that a task has looked at, of a customer whose streams are gone now."""
    home.add(slug)
    with read(home.engine) as conn:
        customer = customers.get(conn, slug)
    assert customer is not None
    window_id = ledger_rows.record(home.engine, customer, ledger_rows.claim(home.engine, customer), 0, 0)
    with read(home.engine) as conn:
        work = windows.work(conn, window_id)
    assert work is not None
    for stream in (raw(slug), processed(slug)):
        home.broker.delete(stream)
    return work


@pytest.mark.parametrize("late", LATE)
def test_a_task_of_a_deleted_customer_ends_quietly(
    home: Home, context: Context, slug: str, late: str
) -> None:
    work = under_way(home, slug)
    with read(home.engine) as conn:
        customer = customers.get(conn, slug)
    assert customer is not None
    with begin(home.engine) as conn:
        deletion.begin(conn, customer, who="anna", why="")
    assert not LATE[late](context, work)


@pytest.mark.parametrize("late", LATE)
def test_a_stream_that_is_missing_for_another_reason_is_told(
    home: Home, context: Context, slug: str, late: str
) -> None:
    work = under_way(home, slug)
    with pytest.raises(StreamMissing):
        LATE[late](context, work)
