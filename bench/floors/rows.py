"""Loading the rows that a window leaves, alone: ready bytes and tuples into tables without keys, no merge."""

import csv
import io
import json
from dataclasses import dataclass

import psycopg
import pyarrow as pa
from psycopg import sql

from bench.floors.pure import timed
from bench.measuring import account
from tasks.processors import Processed


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCost:
    """CPU seconds for the rows of one window, of the client and of the server."""

    rows: int
    client_cpu_s: float
    server_cpu_s: float


def copy(url: str, server_pid: int, results: Processed, *, seconds: float) -> RowCost:
    """COPY, a window a transaction."""
    tables = _tables(results)
    ready = {name: _csv(table) for name, table in tables.items()}
    calls = 0
    with psycopg.connect(url, autocommit=True) as connection:
        for name, table in tables.items():
            _create(connection, name, table.schema)
        before = account.used([server_pid])

        def once() -> None:
            nonlocal calls
            calls += 1
            with connection.transaction(), connection.cursor() as cursor:
                for name, written in ready.items():
                    statement = sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(_named(name))
                    with cursor.copy(statement) as stream:
                        stream.write(written)

        client = timed(once, seconds)
        server = account.used([server_pid]) - before
    return RowCost(rows=_count(tables), client_cpu_s=client, server_cpu_s=server.cpu_s / calls)


def _tables(results: Processed) -> dict[str, pa.Table]:
    tables = {"interactions": results.interactions, "rollups": results.rollups, "events": results.events}
    return {name: table for name, table in tables.items() if len(table)}


def _count(tables: dict[str, pa.Table]) -> int:
    return sum(len(table) for table in tables.values())


def _create(connection: psycopg.Connection, name: str, schema: pa.Schema) -> None:
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(_type(field.type))) for field in schema
    ]
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(_named(name), sql.SQL(", ").join(columns)))


def _named(name: str) -> sql.Identifier:
    return sql.Identifier(f"floor_{name}")


def _type(kind: pa.DataType) -> str:
    if pa.types.is_fixed_size_binary(kind):
        return "bytea"
    if pa.types.is_timestamp(kind):
        return "timestamptz"
    if pa.types.is_map(kind):
        return "jsonb"
    return "bigint" if pa.types.is_integer(kind) else "text"


def _csv(table: pa.Table) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink)
    for row in _tuples(table):
        writer.writerow([f"\\x{value.hex()}" if isinstance(value, bytes) else value for value in row])
    return sink.getvalue().encode()


def _tuples(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(_values(column) for column in table.columns), strict=True))


def _values(column: pa.ChunkedArray) -> list[object]:
    if pa.types.is_timestamp(column.type):
        return list(column.cast(pa.timestamp("us")).cast(pa.string()).to_pylist())
    values = column.to_pylist()
    return [json.dumps(dict(value)) for value in values] if pa.types.is_map(column.type) else values
