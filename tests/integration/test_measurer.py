"""The measuring dispatcher by slices: what it shows of a customer, of wrong books and of servers away."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from db.engine import begin
from deploy.local.rabbitmq import RabbitNode
from operators import Memory
from streams import Broker, StreamSettings
from streams.settings import RetentionSettings
from tasks.measures.measurer import Measurer
from tasks.settings import TaskSettings
from tests import receiver as receivers
from tests.filled import fill
from tests.measured import Scrape, parsed
from tests.receiver import Home

SLICE_S = 100.0
"""A tenth of it is enough to look at a few customers, however busy the machine is."""


class MeasurerAtWork:
    """A measurer that a test lets work, and what it shows."""

    def __init__(self, home: Home, broker: Broker) -> None:
        self.elected = True
        self._board = Memory(lanes=1, lane_bytes=64, board_bytes=1 << 20).board
        self.measurer = Measurer(
            engine=home.engine,
            broker=broker,
            board=self._board,
            settings=TaskSettings(measure_every_s=1),
            retention=RetentionSettings(),
            elected=lambda: self.elected,
        )

    def next(self, *, books: bool = True) -> Scrape:
        """After one more slice in which everything is due; the books if they are to be."""
        self.measurer._next_look_s = self.measurer._next_show_s = 0.0
        if books:
            self.measurer._next_round_s = 0.0
        self.measurer.slice(SLICE_S)
        return parsed(self._board.shown().decode())


@pytest.fixture
def home(database_url: str, rabbitmq: RabbitNode) -> Iterator[Home]:
    with receivers.home(database_url, rabbitmq) as home:
        yield home


def test_a_slice_shows_what_is_owed_kept_and_deposited(home: Home, slug: str) -> None:
    fill(home, slug, "sixteen letters.")
    measurer = MeasurerAtWork(home, home.broker)
    measurer.next()  # only what was in the stream before the cursor was read counts as owed
    shown = measurer.next()
    assert shown.value("sluice_owed_batches", customer=slug) == 1, "the one that waits in the stream"
    assert (shown.value("sluice_oldest_owed_seconds", customer=slug) or 0) > 0
    assert shown.value("sluice_stream_batches", customer=slug) == 4
    assert shown.value("sluice_quarantine_rows", customer=slug) == 2
    assert shown.total("sluice_workers_wanted") >= 1
    assert (shown.value("sluice_measured_timestamp_seconds") or 0) > 0


def test_books_that_differ_are_seen_and_seen_to_be_mended(home: Home, slug: str) -> None:
    home.add(slug)
    shown = MeasurerAtWork(home, home.broker)
    assert shown.next().total("sluice_books_differences") == 0
    for cursor, differs in ((7, True), (0, False)):
        with begin(home.engine) as connection:
            connection.execute(text("UPDATE dispatch SET next_offset = :cursor"), {"cursor": cursor})
        before = shown.next(books=False).total("sluice_books_differences") > 0
        assert before != differs, "the next round of the books is not due"
        assert (shown.next().total("sluice_books_differences") > 0) == differs


def test_who_is_not_elected_shows_no_customer_and_begins_anew(home: Home, slug: str) -> None:
    home.add(slug)
    shown = MeasurerAtWork(home, home.broker)
    assert shown.next().customers() == {slug}
    shown.elected = False
    assert shown.next().customers() == set()
    shown.elected = True
    assert shown.next().customers() == {slug}


def test_while_the_broker_is_away_the_ledger_is_shown(home: Home, slug: str) -> None:
    home.add(slug)
    nowhere = StreamSettings(url="rabbitmq-stream://guest:guest@127.0.0.1:1/%2f", connect_timeout_s=1)
    broker = Broker(nowhere)
    try:
        shown = MeasurerAtWork(home, broker).next()
    finally:
        broker.close()
    assert shown.value("sluice_owed_batches", customer=slug) is not None
    assert shown.total("sluice_books_differences") == 0
