"""Many rows at once, through the driver, on the connection and in the transaction that SQLAlchemy holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import ClauseElement, Connection, Dialect
from sqlalchemy.engine import Compiled

from db import binary

SLICE_BYTES: Final = 64 * 1024 * 1024
"""PostgreSQL takes no parameter above 1 GB, and an Arrow array of texts no more than 2 GiB."""
# COPY costs PostgreSQL a fifth less for 10,000 rows, as much for 1,000, and an answer more.
MOST_AS_ARRAYS: Final = 2_000


def is_postgresql(conn: Connection) -> bool:
    return conn.dialect.name == "postgresql"


@contextmanager
def together(conn: Connection) -> Iterator[None]:
    """Statements of the block that go through `send` or `driver` are sent to PostgreSQL at once, and answered
    at once: of a server that answers late they cost one answer, however many they are.

    They are executed in order. The error of one is raised where an answer is asked for, or at the block's
    end; what was sent after it is not executed. To ask for one within the block is a wait of its own. COPY is
    not possible. On SQLite nothing changes.
    https://www.psycopg.org/psycopg3/docs/advanced/pipeline.html
    """
    if not is_postgresql(conn):
        yield
        return
    with driver(conn).pipeline():
        yield


def send(conn: Connection, statement: ClauseElement, values: Mapping[str, object]) -> Any:
    """Execute a statement that was built once; returns psycopg's cursor, which waits for the answer when a
    row is asked for. PostgreSQL only.

    `values` are what psycopg takes: types of SQLAlchemy that convert are not asked.
    """
    compiled = _compiled(statement, conn.dialect)
    return driver(conn).execute(compiled.string, compiled.construct_params(dict(values)))


@lru_cache(maxsize=64)
def _compiled(statement: ClauseElement, dialect: Dialect) -> Compiled:
    return statement.compile(dialect=dialect)


def slices(table: pa.Table) -> Iterator[pa.Table]:
    """The table in pieces of `SLICE_BYTES`, or of one row: for rows with texts that agents choose."""
    if table.nbytes <= SLICE_BYTES or len(table) <= 1:
        yield table
        return
    middle = len(table) // 2
    yield from slices(table.slice(0, middle))
    yield from slices(table.slice(middle))


def insert_rows(
    conn: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Insert tuples of Python values; errors are the driver's own, which `db.engine.begin` knows too."""
    if not is_postgresql(conn):
        execute_many(conn, insert_statement(table, columns), rows)
        return
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with driver(conn).cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def copy(conn: Connection, table: str, columns: Mapping[str, pa.Array]) -> None:
    """COPY Arrow columns, of the types of the table's. PostgreSQL only."""
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
    with driver(conn).cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(binary.rows(list(columns.values())))


def arrays(columns: Mapping[str, pa.Array]) -> tuple[str, dict[str, binary.Array]]:
    """Rows for one statement, which costs one answer of the server however many they are: a subquery with
    these columns, and its parameters for the driver. PostgreSQL only.

    Faster than COPY into a temporary table for a thousand rows, and as fast for tens of thousands.
    """
    parameters = {name: binary.array(column) for name, column in columns.items()}
    listed = (f"unnest(CAST(%({name})s AS {of.element}[])) AS {name}" for name, of in parameters.items())
    return f"(SELECT {', '.join(listed)})", parameters


def execute_many(conn: Connection, statement: str, rows: Iterable[Sequence[object]]) -> None:
    """One statement for each tuple, in the driver's own loop and placeholders."""
    driver(conn).executemany(statement, rows)


def insert_statement(table: str, columns: Sequence[str], merge: str = "") -> str:
    """For `execute_many` on SQLite, with an optional ON CONFLICT clause."""
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) {merge}"  # noqa: S608 (our own names)


def driver(conn: Connection) -> Any:
    """The psycopg or sqlite3 connection, whose transaction has been begun."""
    return conn.connection.driver_connection
