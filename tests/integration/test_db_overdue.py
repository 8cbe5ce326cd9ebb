"""Whom a look finds is whoever has something that would be deleted, and nobody else."""

from functools import partial
from random import Random
from typing import Any

from sqlalchemy import Connection, Engine, event, func, insert, select, text

from db import tables
from db.clock import now_us
from db.customers import own_retention, rows as customers
from db.engine import begin, connect
from db.quarantine import budget
from db.results import of_customer, write_exceptions, write_split_rollups
from db.retention import forgetting
from db.retention.bounds import RetentionBounds, bounds
from db.retention.folding import fold
from db.retention.isolated_work import IsolatedWork
from db.retention.overdue import LOOKS, RESULTS, find
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import add_customer
from tests.integration.result_tables import exceptions_table, split_rollups_table
from tests.integration.test_db_logs import write_log_rows
from tests.integration.test_db_pruning import DAY_US, write
from tests.integration.test_db_reads_by_key import rows_read
from tests.integration.test_exceptions_stored import counted
from tests.integration.test_split_rollups import a_split

SETTINGS = DatabaseSettings()
CUSTOMERS = 40
NEAR_US = (-40 * DAY_US, -DAY_US, -60_000_001, -1, 0, 1, 60_000_000, DAY_US)
"""How long before or after its bound something is."""
_ZEROS = (
    *("first_offset", "last_offset", "batches", "bytes", "pipeline_version", "rung_at", "token"),
    *("first_accepted_at", "last_accepted_at"),
)


class NearBounds:
    """Rows of random ages near their customers' bounds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._at_us = now_us(engine)
        self._chance = Random(5)

    def customer(self, slug: str) -> RetentionBounds:
        """One with such rows, and with days of its own."""
        made, chance = add_customer(self._engine, slug), self._chance
        with begin(self._engine) as conn:
            own_retention.set_days(
                conn,
                made,
                SETTINGS,
                {
                    "results": chance.choice((10, 40)),
                    "quarantine": chance.choice((None, 100)),
                    "ids": chance.choice((None, 20)),
                },
            )
            changed = customers.get(conn, slug)
            assert changed is not None
            of = bounds(changed, SETTINGS, self._at_us)
            self._batches_and_quarantine(conn, of)
            self._windows(conn, of)
        if times := self._times(int(of.results_from.timestamp() * 1e6)):
            write(self._engine, changed, changed.id, times, each=1)
            write_log_rows(self._engine, changed, times)
            rows = [counted("f", minute=at_us // 60_000_000 * 60_000_000) for at_us in set(times)]
            with begin(self._engine) as conn:
                write_exceptions(conn, of_customer(changed.id, exceptions_table(rows)))
                split = [a_split("1", 1, minute=row["minute"]) for row in rows]
                write_split_rollups(conn, of_customer(changed.id, split_rollups_table(split)))
        return of

    def _times(self, bound: int) -> list[int]:
        return [bound + self._chance.choice(NEAR_US) for _ in range(self._chance.choice((0, 1, 1, 2, 3)))]

    def _batches_and_quarantine(self, conn: Connection, of: RetentionBounds) -> None:
        mine, chance = {"customer_id": of.customer.id}, self._chance
        newest = of.now_us + chance.choice((-30, -2, 1)) * DAY_US
        kept_from = forgetting.days_before(newest, of.now_us, of.ids_days)
        times = self._times(kept_from)
        for number, at_us in enumerate((*times, newest) if times else ()):
            booked_at = chance.choice((None, at_us, at_us + 60_000_000))
            batch = {"batch_id": f"b-{number}", "digest": b"", "first_offset": number, "state": "dispatched"}
            conn.execute(
                insert(tables.batches).values(mine | batch | {"accepted_at": at_us, "booked_at": booked_at})
            )
        for at_us in self._times(of.rows_from(kept_from)):
            replayed: dict[str, Any] = {"state": "kept"}
            if chance.random() < 0.5:
                again_us = chance.choice((at_us, kept_from + chance.choice(NEAR_US)))
                state = chance.choice(("replaying", "replayed"))
                replayed = {"state": state, "replayed_as": "b-0", "replayed_at": again_us}
            row = {"stream_offset": 0, "batch_id": "b", "reason": "r", "detail": "", "format": "ndjson"}
            row |= {"content_encoding": "", "accepted_at": 0, "bytes": b"", "created_at": at_us}
            conn.execute(insert(tables.quarantine).values(mine | row | replayed))
        for day in {at_us // DAY_US for at_us in self._times(of.quarantined_from)}:
            conn.execute(insert(tables.quarantine_days).values(mine | {"day": day}))

    def _windows(self, conn: Connection, of: RetentionBounds) -> None:
        """Some of them whole, some split, of which the whole may be gone; some folded before."""
        chance = self._chance
        for at_us in sorted(self._times(of.windows_from)):
            match chance.choice(("whole", "whole", "open", "split", "part", "folded")):
                case "split":
                    whole = self._window(conn, of, at_us, "split")
                    for state in chance.choice((("deposited",), ("dispatched", "deposited"))):
                        self._window(conn, of, at_us, state, parent_id=whole)
                case "part":
                    self._window(conn, of, at_us, "deposited", parent_id=1)
                case "folded":
                    self._window(conn, of, at_us, "deposited")
                    fold(conn, of.customer.id)
                case state:
                    self._window(conn, of, at_us, "dispatched" if state == "open" else "deposited")

    def _window(self, conn: Connection, of: RetentionBounds, at_us: int, state: str, **changes: int) -> int:
        values: dict[str, Any] = dict.fromkeys(_ZEROS, 0) | changes
        values |= {"customer_id": of.customer.id, "created_at": at_us, "state": state, "skipped": []}
        made = insert(tables.windows).values(values)
        window_id: int = conn.execute(made.returning(tables.windows.c.id)).scalar_one()
        return window_id


def deleted(engine: Engine, of: RetentionBounds) -> set[str]:
    """The kinds of work that would do something; all of it is undone."""
    customer_id = of.customer.id
    mine = tables.quarantine_days.c.customer_id == customer_id
    days = select(func.count()).select_from(tables.quarantine_days).where(mine)
    upto = select(tables.folded.c.upto_window_id).where(tables.folded.c.customer_id == customer_id)
    done: dict[str, int] = {}
    with begin(engine) as conn, conn.begin_nested() as undone:
        ids_from = forgetting.remembered_from(conn, customer_id, of.now_us, of.ids_days)
        before, there = conn.execute(upto).scalar_one(), conn.execute(days).scalar_one()
        fold(conn, customer_id)
        folded_ids = tables.windows.c.id.between(before + 1, conn.execute(upto).scalar_one())
        some = select(func.count()).where(tables.windows.c.customer_id == customer_id, folded_ids)
        done["unfolded windows"] = conn.execute(some).scalar_one()
        budget.forget(conn, customer_id, of.quarantined_from)
        done["quarantine's days"] = there - conn.execute(days).scalar_one()
        # In this order: what is forgotten of one kind makes no other's rows older.
        done["windows"] = forgetting.delete_windows(conn, customer_id, of.windows_from, 100)
        done["batch ids"] = forgetting.forget_batches(conn, customer_id, ids_from, 100)
        rows_from = of.rows_from(ids_from)
        done["quarantine"] = forgetting.delete_quarantined(conn, customer_id, rows_from, 100)
        for table in RESULTS:
            done[table.name] = forgetting.delete_results(conn, table, customer_id, of.results_from, 100)
        undone.rollback()
    return {kind for kind, rows in done.items() if rows}


def test_a_look_finds_whoever_has_something_that_would_be_deleted(engine: Engine, slug: str) -> None:
    near = NearBounds(engine)
    asked = [near.customer(f"{slug}-{number}") for number in range(CUSTOMERS)]
    isolated = IsolatedWork(engine=engine)
    overdue = dict(find(engine, asked, isolated))
    assert isolated.failed == 0
    ledger = overdue.pop("ledger")
    found = {of.customer.id: {kind for kind in overdue if of.customer.id in overdue[kind]} for of in asked}
    assert found == {of.customer.id: deleted(engine, of) for of in asked}
    for kind, ids in overdue.items():
        assert 3 < len(ids) < CUSTOMERS - 3, f"{kind}: some of both"
    results = {table.name for table in RESULTS}
    assert ledger == {customer_id for customer_id, kinds in found.items() if kinds - results}


def test_a_look_reads_a_few_rows_of_each_customer(postgresql_url: str, slug: str) -> None:
    """Whatever there is of them, and of others; without statistics of the tables, and with them."""
    engine = connect(DatabaseSettings(url=postgresql_url), pooled=False)
    at_us = now_us(engine)
    busy, idle = (add_customer(engine, f"{slug}-{name}") for name in ("busy", "idle"))
    write(engine, busy, 1, [at_us - number * 60_000_000 for number in range(1_000)], each=1)
    zeros = ", ".join(_ZEROS)
    with begin(engine) as conn:
        for statement in (
            f"INSERT INTO windows (customer_id, created_at, state, skipped, {zeros})"
            f" SELECT :of, :at_us, 'deposited', '[]', {', '.join('0' for _ in _ZEROS)}",
            "INSERT INTO batches (customer_id, accepted_at, batch_id, digest, first_offset, state)"
            " SELECT :of, :at_us, CAST(number AS text), '', 0, 'dispatched'",
        ):
            given = {"of": busy.id, "at_us": at_us}
            conn.execute(text(f"{statement} FROM generate_series(1, 20000) number"), given)
    asked = [bounds(customer, SETTINGS, at_us) for customer in (busy, idle)]
    for statement in ("SELECT 1", "ANALYZE"):
        with begin(engine) as conn:
            conn.execute(text(statement))
        for what, found in LOOKS.items():
            table = what if what in tables.metadata.tables else "quarantine"
            with begin(engine) as conn, rows_read(conn, table, most=10):
                found(conn, asked)


def test_where_a_look_fails_everybody_may_have_something(postgresql_url: str, slug: str) -> None:
    engine = connect(DatabaseSettings(url=postgresql_url, lock_timeout_s=0.1), pooled=False)
    asked = [bounds(add_customer(engine, f"{slug}-{name}"), SETTINGS, now_us(engine)) for name in "ab"]
    isolated = IsolatedWork(engine=engine)
    with begin(engine) as conn:
        conn.execute(text("LOCK TABLE rollups IN ACCESS EXCLUSIVE MODE"))
        overdue = find(engine, asked, isolated)
    assert isolated.failed == 1
    everyone = {of.customer.id for of in asked}
    assert {kind: ids for kind, ids in overdue.items() if ids} == {"rollups": everyone}


def test_a_round_without_work_asks_no_more_for_many_customers_than_for_few(engine: Engine, slug: str) -> None:
    counts = []
    for more in (2, 20):
        for number in range(more):
            add_customer(engine, f"{slug}-{more}-{number}")
        prune(engine, SETTINGS, now_us(engine))  # the months of partitions are made
        statements: list[str] = []
        noted = partial(_note, statements)
        event.listen(engine, "before_cursor_execute", noted)
        assert prune(engine, SETTINGS, now_us(engine)).failed == 0
        event.remove(engine, "before_cursor_execute", noted)
        counts.append(len(statements))
    assert counts[1] < counts[0] + 5  # a process asks for the database's time now and then
    assert counts[0] < 40


def _note(statements: list[str], _conn: object, _cursor: object, statement: str, *_: object) -> None:
    statements.append(statement)
