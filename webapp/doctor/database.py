"""Checks of the database: reachable, migrated, safe, roomy; partitions and indexes as they should be."""

from datetime import UTC, datetime, timedelta

import db.inspection
from db.accounting.measured import beats
from db.clock import now_us
from db.errors import DatabaseMisconfigured
from db.revision import check
from webapp.doctor.examined import Examined
from webapp.doctor.findings import CheckOutcome, fail, named, ok, warn, worst

_MONTH = timedelta(days=7)
"""So far ahead are partitions made."""
# By setting: the values that lose nothing, what another one costs, and whether the ledger survives it.
_SAFE = {
    "fsync": ("on", "a crash of the machine can destroy the database", True),
    "full_page_writes": ("on", "a crash of the machine can destroy pages of the database", True),
    "synchronous_commit": (
        "on local remote_write remote_apply",
        "a crash can lose the last transactions; their windows are processed again",
        False,
    ),
}


def database(examined: Examined) -> CheckOutcome:
    with examined.looked() as connection:
        release, fits = db.inspection.release(connection)
    if fits:
        return ok(release)
    return fail(f"{release} is too old", "use PostgreSQL 13 or newer, or a Python with SQLite 3.35 or newer")


def schema(examined: Examined) -> CheckOutcome:
    with examined.looked() as connection:
        missing = db.inspection.missing_tables(connection)
        if missing:
            return fail(f"tables are missing: {named(missing)}", "run `alembic upgrade head`")
        try:
            check(connection)
        except DatabaseMisconfigured as error:
            found, _, remedy = str(error).partition(": ")
            return fail(found, remedy)
    return ok("all tables are there, of a revision that fits this release")


def durability(examined: Examined) -> CheckOutcome:
    with examined.looked() as connection:
        if connection.dialect.name == "sqlite":
            mode = db.inspection.journal_mode(connection)
            if mode == "wal":
                return ok("SQLite in WAL mode")
            return fail(
                f"SQLite's journal_mode is {mode}, so that readers and writers stop each other",
                "stop what else has the file open; then `PRAGMA journal_mode = WAL`",
            )
        found = db.inspection.settings(connection, *_SAFE)
    outcomes = [
        (fail if destroys else warn)(
            f"{name} = {found[name]}: {cost}", f"set {name} to on in postgresql.conf"
        )
        for name, (safe, cost, destroys) in _SAFE.items()
        if found.get(name, "on") not in safe.split()
    ]
    return worst(outcomes) if outcomes else ok("fsync, full_page_writes and synchronous_commit are on")


def connections(examined: Examined) -> CheckOutcome:
    with examined.looked() as connection:
        if connection.dialect.name == "sqlite":
            return ok("SQLite has no limit")
        found = db.inspection.connections(connection)
        processes = sum(1 if row.dispatches else row.processes for row in beats(connection))
    wanted = (processes + examined.http.workers * examined.http.receivers) * examined.database.pool_size
    told = f"{found.in_use} of {found.most} are in use; all processes may open {wanted}"
    remedy = "raise max_connections, or lower SLUICE_DB_POOL_SIZE or the number of processes"
    if found.in_use >= found.most:
        return fail(told, remedy)
    return warn(told, remedy) if wanted > found.most or found.in_use > 0.9 * found.most else ok(told)


def partitions(examined: Examined) -> CheckOutcome:
    with examined.looked() as connection:
        if connection.dialect.name == "sqlite":
            return ok("SQLite has none")
        today = datetime.fromtimestamp(now_us(connection) / 1e6, UTC).date()
        missing = [one.name for one in db.inspection.missing_partitions(connection, [today])]
        soon = [one.name for one in db.inspection.missing_partitions(connection, [today + _MONTH])]
    remedy = "look in the dispatcher's log: it makes them, every SLUICE_TASK_PRUNE_EVERY_S"
    if missing:
        return fail(f"today's are missing: {named(missing)}", remedy)
    return warn(f"those of next week are missing: {named(soon)}", remedy) if soon else ok("there for a week")


def indexes(examined: Examined) -> CheckOutcome:
    with examined.looked() as connection:
        broken = db.inspection.broken_indexes(connection)
        missing = db.inspection.missing_indexes(connection)
    outcomes = []
    if broken:
        outcomes.append(
            fail(f"half-built: {named(broken)}", "run `REINDEX INDEX CONCURRENTLY` for each of them")
        )
    if missing:
        outcomes.append(fail(f"missing: {named(missing)}", "create them as the migrations say"))
    return worst(outcomes) if outcomes else ok("all are there and used")
