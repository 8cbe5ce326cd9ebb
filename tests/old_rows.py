"""Rows and statements of releases that are gone, made from the columns that their schema had."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Engine,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    select,
    update,
)

from db.engine import begin, read
from db.errors import DatabaseUnavailable

CUSTOMERS, WINDOWS = 3, 20
# By table, what is not the default of its type.
SPECIAL: dict[str, dict[str, Any]] = {
    "customers": {"state": "active", "retention_days": 3650, "routes": {}},
    "windows": {"state": "deposited", "batches": 1, "decoded": 5, "kept": 3, "dropped": 1, "rejected": 1},
    "batches": {"state": "dispatched"},
    "quarantine": {"state": "kept", "reason": "bad_id", "format": "ndjson"},
    "interactions": {"events": 3, "status": "ok"},
    "rollups": {"count": 3, "histogram": [3]},
}


def columns(table: Table) -> list[Column[Any]]:
    """Those that a release of that schema gives a value: no counters of the database's own."""
    return [one for one in table.columns if not (one.name == "id" and table.name != "customers")]


def row(table: Table, number: int, **given: Any) -> dict[str, Any]:
    """A row that fits the schema; numbers are 0 and words tell rows apart unless it is said otherwise."""
    values: dict[str, Any] = {}
    for column in columns(table):
        match column.type:
            case _ if column.nullable:
                values[column.name] = None
            case Boolean():
                values[column.name] = True
            case DateTime():
                values[column.name] = datetime(2026, 1, 1, tzinfo=UTC)
            case LargeBinary():
                values[column.name] = number.to_bytes(16, "big")
            case JSON():
                values[column.name] = []
            case Text():
                values[column.name] = f"{column.name}-{number}"
            case _:
                values[column.name] = 0
    return values | SPECIAL.get(table.name, {}) | given


@dataclass(kw_only=True)
class OldRelease:
    """A database at an earlier revision, filled, and what goes on in it as a release of then would work."""

    engine: Engine
    tables: MetaData = field(default_factory=MetaData)
    before: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    written: int = 0
    slowest_s: float = 0.0
    problems: list[Exception] = field(default_factory=list)

    def fill(self) -> None:
        with begin(self.engine) as conn:
            self.tables.reflect(conn, only=lambda name, _: not name.endswith("_default"))
            for customer in range(1, CUSTOMERS + 1):
                self._customer(conn, customer)
                for number in range(WINDOWS):
                    self._deposit(conn, customer, number)
        with read(self.engine) as conn:
            self.before = {name: self._rows(conn, name) for name in self._filled()}

    def kept(self, conn: Connection) -> dict[str, bool]:
        """By table, whether each row of before is there as it was."""
        return {name: set(self.before[name]) <= set(self._rows(conn, name)) for name in self.before}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Write and read from two threads until the block ends."""
        ended = threading.Event()
        threads = [
            threading.Thread(target=self._go_on, args=(act, ended)) for act in (self._write, self._read)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(60)

    def _go_on(self, act: Any, ended: threading.Event) -> None:
        while not ended.is_set() and not self.problems:
            began_s = time.monotonic()
            try:
                act()
            except DatabaseUnavailable as error:  # tried again, as every process does
                if "deadlock" not in str(error):
                    self.problems.append(error)
            except Exception as error:
                self.problems.append(error)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            time.sleep(0.05)

    def _write(self) -> None:
        workers, customers = self.tables.tables["workers"], self.tables.tables["customers"]
        with begin(self.engine) as conn:
            self._deposit(conn, 1, WINDOWS + self.written)
            named = workers.c.name == "name-1"
            if not conn.execute(update(workers).where(named).values(seen_at=self.written)).rowcount:
                conn.execute(insert(workers), row(workers, 1))
            conn.execute(update(customers).where(customers.c.id == 2).values(updated_at=self.written))
        self.written += 1

    def _read(self) -> None:
        with read(self.engine) as conn:
            for name in ("customers", "windows", "batches", "quarantine", "interactions"):
                table = self.tables.tables[name]
                conn.execute(select(*columns(table)).limit(20)).all()

    def _customer(self, conn: Connection, customer: int) -> None:
        for name in ("customers", "customer_keys", "pipelines", "dispatch", "deposits", "folded"):
            table = self.tables.tables[name]
            key = {"id": customer} if name == "customers" else {"customer_id": customer}
            conn.execute(insert(table), row(table, customer, **key))

    def _deposit(self, conn: Connection, customer: int, number: int) -> None:
        """A window of one batch, from its record to its deposit, as the ledger has always had it."""
        tables, mine = self.tables.tables, {"customer_id": customer}
        window = row(tables["windows"], number, **mine, first_offset=number, last_offset=number)
        window |= {"deposited_at": 1}
        of = conn.execute(insert(tables["windows"]).values(window)).inserted_primary_key
        assert of is not None
        for name, given in {
            "batches": {"window_id": of[0], "first_offset": number},
            "quarantine": {"window_id": of[0], "stream_offset": number, "row": 1},
            "interactions": {},
            "rollups": {},
            "events": {"window_id": of[0]},
        }.items():
            conn.execute(insert(tables[name]), row(tables[name], number, **mine, **given))
        cursor = tables["dispatch"]
        moved = {"next_offset": cursor.c.next_offset + 1, "batches": cursor.c.batches + 1}
        conn.execute(update(cursor).where(cursor.c.customer_id == customer).values(moved))

    def _filled(self) -> list[str]:
        # What is written again and again is another row each time.
        again = ("dispatch", "workers", "customers", "alembic_version")
        return [name for name in self.tables.tables if name not in again]

    def _rows(self, conn: Connection, name: str) -> list[tuple[Any, ...]]:
        found = conn.execute(select(*self.tables.tables[name].columns))
        return [tuple(str(value) for value in one) for one in found]
