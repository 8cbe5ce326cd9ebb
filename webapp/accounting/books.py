"""The books: what the ledger says became of each batch, held against the offsets of the raw stream."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

import db.accounting.books
import db.customers.pipeline_versions
import db.customers.public_key_use
import db.customers.rows
import db.ledger.generations
import db.quarantine.budget
from db.accounting.books import LedgerCounts, ResultCounts
from db.customers.deletion import is_gone
from db.customers.rows import Customer
from db.engine import look, read
from db.ledger.generations import Generation
from db.quarantine.budget import Spent
from db.retention.retired_partitions import none_dropped
from pipelines import parse
from pipelines.steps import AnyStep, Compose, Rollup, RollupLogs
from streams import Broker, raw
from streams.errors import StreamMissing

OFFSETS_AT_ONCE = 8
"""Streams asked for their ends at the same time."""
STATEMENT_S = 3_600.0
"""How long it may take to add up one result table of a customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """Oldest and newest offset of a raw stream, None for an empty one."""

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """One customer's books. Offsets of a stream are contiguous, so they count batches."""

    customer: Customer
    ledger: LedgerCounts
    ends: StreamBounds | None  # None: there is no such stream
    past: Sequence[Generation] = ()  # each time that the stream was found cut or replaced
    results: ResultCounts | None = None  # None: not asked for
    quarantine_days: Spent = field(default_factory=Spent)  # of all days that are remembered
    public_key_refused: int = 0  # requests with a public key, of the days that are remembered
    composes: bool = True  # whether every pipeline version composes and rolls up all events that it keeps
    rolls_up_logs: bool = True  # whether every one does so with log records

    @property
    def undispatched(self) -> int:
        """Batches behind the cursor."""
        return max(0, self._end - self.ledger.next_offset)

    @property
    def in_stream(self) -> int:
        """Batches that were ever accepted: those that the cursor has passed, and those behind it."""
        return self.ledger.batches + self.undispatched

    @property
    def in_flight(self) -> int:
        """Batches accepted and not yet deposited."""
        return self.ledger.in_flight + self.undispatched

    @property
    def gone_undispatched(self) -> int:
        """Batches behind the cursor that retention has removed; dispatch will book them as expired."""
        first = self.ends.first if self.ends else None
        return 0 if first is None else max(0, min(first, self._end) - self.ledger.next_offset)

    @property
    def cursor_beyond_end(self) -> int:
        """Offsets that the cursor has passed and that the stream does not have: it was cut or replaced.

        The end is read after the ledger, so it is never behind the cursor by chance.
        """
        return max(0, self.ledger.next_offset - self._end)

    @property
    def _end(self) -> int:
        last = self.ends.last if self.ends else None
        return 0 if last is None else last + 1

    def differences(self) -> list[str]:
        """A sentence for each thing that does not add up; empty when the books balance."""
        found = self.ledger.differences()
        if self.ends is None:
            found.append(f"there is no stream {raw(self.customer.slug)}")
        elif self.cursor_beyond_end:
            cursor = self.ledger.next_offset
            found.append(
                f"the cursor is at {cursor}, but the stream ends at {self._end}: it was cut or replaced"
            )
        return found + self._result_differences()

    def _result_differences(self) -> list[str]:
        results, ledger = self.results, self.ledger
        if results is None:
            return []
        pairs = [
            ("whole batches in quarantine", results.quarantined.total, ledger.quarantined),
            ("events in quarantine", results.rejected.total, ledger.rejected),
        ]
        if self.composes:
            events = ledger.kept - ledger.kept_logs
            pairs.append(("events that the interactions stand for", results.interactions, events))
            pairs.append(("events that the rollups count", results.rollups, events))
        if self.rolls_up_logs:
            pairs.append(("log records that their rollups count", results.log_rollups, ledger.kept_logs))
        return [f"{what}: {there}, the ledger says {said}" for what, there, said in pairs if there != said]


def books(
    engine: Engine,
    broker: Broker,
    customers: Sequence[Customer],
    *,
    deadline_s: float,
) -> list[Books]:
    """The books of these customers, at one moment of the database and, right after it, of each stream.

    Those that are deleted meanwhile, or whose deletion has begun, are left out.
    Raises db.errors.DatabaseUnavailable, streams.errors.BrokerUnavailable.
    """
    with read(engine) as connection:
        ledgers = db.accounting.books.ledgers(connection)
        past = db.ledger.generations.everyones(connection)
        spent = db.quarantine.budget.everyones(connection)
        refused = db.customers.public_key_use.refused(connection)
    with ThreadPoolExecutor(OFFSETS_AT_ONCE) as pool:
        ends = list(pool.map(lambda one: stream_ends(broker, one.slug, deadline_s=deadline_s), customers))
    # After everything was read: of one that is present now, nothing was gone then.
    with look(engine) as connection:
        present = {customer.id for customer in db.customers.rows.present(connection)}
    return [
        Books(
            customer=customer,
            ledger=ledgers[customer.id],
            ends=found,
            past=past.get(customer.id, ()),
            quarantine_days=spent.get(customer.id, Spent()),
            public_key_refused=refused.get(customer.id, 0),
        )
        for customer, found in zip(customers, ends, strict=True)
        if customer.id in present
    ]


def books_with_results(
    engine: Engine, broker: Broker, customers: Iterable[Customer], *, deadline_s: float
) -> Iterator[Books]:
    """The same with the result tables added up, each customer at a moment of its own.

    Every result row is read, minutes for large customers, in one snapshot, beside which deposits and pruning
    go on; only the dropping of partitions waits. Leaves out and raises as `books` does.
    """
    for customer in customers:
        with none_dropped(engine), read(engine, statement_s=STATEMENT_S) as connection:
            if is_gone(connection, customer.id):
                continue
            ledger = db.accounting.books.ledger(connection, customer.id)
            past = db.ledger.generations.history(connection, customer.id)
            spent = db.quarantine.budget.spent(connection, customer.id)
            refused = db.customers.public_key_use.refused(connection, customer.id)
            versions = _versions(connection, customer)
            results = db.accounting.books.results(connection, customer.id)
        ends = stream_ends(broker, customer.slug, deadline_s=deadline_s)
        with look(engine) as connection:
            if is_gone(connection, customer.id):
                continue
        yield Books(
            customer=customer,
            ledger=ledger,
            ends=ends,
            past=past,
            results=results,
            quarantine_days=spent,
            public_key_refused=refused.get(customer.id, 0),
            composes=all({Compose, Rollup} <= steps for steps in versions),
            rolls_up_logs=all(RollupLogs in steps for steps in versions),
        )


def stream_ends(broker: Broker, slug: str, *, deadline_s: float) -> StreamBounds | None:
    """The ends of the customer's raw stream, None when there is none. Raises BrokerUnavailable."""
    try:
        first = broker.first_offset(raw(slug), deadline_s=deadline_s)
        return StreamBounds(first=first, last=broker.last_offset(raw(slug), deadline_s=deadline_s))
    except StreamMissing:
        return None


def _versions(connection: Connection, customer: Customer) -> list[set[type[AnyStep]]]:
    """The steps of each version of the pipeline so far."""
    versions = range(1, customer.pipeline_version + 1)
    texts = (db.customers.pipeline_versions.get(connection, customer.id, version) for version in versions)
    return [{type(step) for step in parse(text).steps} for text in texts]
