"""`flask query`: what somebody asks of the database, in SQL."""

import json
import math
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TextIO

import click
from flask.cli import with_appcontext
from sqlalchemy import Connection, exc, text

from db.bulk import driver
from db.engine import read
from webapp.terminal import command_context, documents, tables
from webapp.terminal.documents import json_option
from webapp.terminal.exits import Command, Ended, Exit

MOST_ROWS = 10_000
_READS = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


@click.command("query", cls=Command)
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--seconds", type=click.FloatRange(0.001, 3600), default=60.0, help="PostgreSQL's time for it.")
@json_option
@with_appcontext
def command(file: TextIO, seconds: float, as_json: bool) -> None:
    """Print the rows that the query in FILE (- is stdin) finds, the first 10,000 of them.

    It is run in a transaction that only reads. docs/queries.md has examples.
    """
    try:
        query = file.read()
    except UnicodeDecodeError as error:
        raise Ended(Exit.REFUSED, f"the query is no UTF-8 text: {error}") from None
    with read(command_context.parts().engine, statement_s=seconds) as connection:
        columns, rows = _ask(connection, query)
    if len(rows) > MOST_ROWS:
        click.echo(f"there are more rows: these are the first {MOST_ROWS:,}", err=True)
    answers = [[_plain(value) for value in row] for row in rows[:MOST_ROWS]]
    if as_json:
        documents.echo({"columns": columns, "answers": answers})
        return
    tables.show(columns, [[_cell(value) for value in row] for row in answers])


def _ask(connection: Connection, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names of the columns, and the rows, to one too many. Raises Ended, with what the database says."""
    on_sqlite = connection.dialect.name == "sqlite"
    try:
        if on_sqlite:
            driver(connection).set_authorizer(_only_reads)
        asked = text(query.replace(":", r"\:"))  # no parameters
        # So PostgreSQL sends no more rows than are fetched.
        result = connection.execute(asked, execution_options={"stream_results": True})
        if not result.returns_rows:
            raise Ended(
                Exit.REFUSED, "the query finds no rows by its nature; write one that begins with SELECT"
            )
        return list(result.keys()), [tuple(row) for row in result.fetchmany(MOST_ROWS + 1)]
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise Ended(Exit.REFUSED, f"the database does not take the query: {error.orig}".strip()) from None
    finally:
        if on_sqlite:
            driver(connection).set_authorizer(None)


def _only_reads(action: int, *_: object) -> int:
    """What SQLite asks of each thing that a statement does; to attach a database would make a file."""
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _plain(value: object) -> object:
    """As JSON has it: times as elsewhere in our documents, bytes as hexadecimal digits, intervals in seconds,
    and what JSON has no form for as text.
    """
    match value:
        case list():
            return [_plain(each) for each in value]
        case Decimal() | float() if not math.isfinite(value):
            return str(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            at = value if value.tzinfo else value.replace(tzinfo=UTC)
            return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | memoryview():
            return value.hex()
        case None | str() | int() | float() | dict():
            return value
        case _:
            return str(value)


def _cell(value: Any) -> tables.Cell:
    if isinstance(value, float):
        return f"{value:.3f}"
    return value if isinstance(value, str | int | None) else json.dumps(documents.plain(value))
