"""A question that is put about many customers in one statement."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, FromClause, Row, Select, column, text

from db.schema import Timestamp

_Query = Callable[[FromClause], Select[Any]]
_TIME = "time"


class Question:
    """`query` makes the statement of a table of what is asked: a row for each customer, with the columns
    `names`, of which the first is the customer's id. `time` is a datetime, the others are integers.

    It is built once, since to build a statement takes longer than to run it, and has a parameter for each
    column (PostgreSQL), or one for all (SQLite).
    """

    def __init__(self, query: _Query, *names: str, sqlite: _Query | None = None) -> None:
        """`sqlite` makes another statement there."""
        arrays, fields = [], []
        for at, name in enumerate(names):
            kind = "timestamptz" if name == _TIME else "bigint"
            arrays.append(f"CAST(:column_{at} AS {kind}[])")
            fields.append(f"json_extract(value, '$[{at}]') AS {name}")
        sources = {
            "postgresql": f"SELECT * FROM unnest({', '.join(arrays)}) AS asked({', '.join(names)})",  # noqa: S608 (our own names)
            "sqlite": f"SELECT {', '.join(fields)} FROM json_each(:asked)",  # noqa: S608
        }
        columns = [column(name, Timestamp() if name == _TIME else BigInteger()) for name in names]
        asked = {dialect: text(one).columns(*columns).subquery("asked") for dialect, one in sources.items()}
        self._statements = {
            "postgresql": query(asked["postgresql"]),
            "sqlite": (sqlite or query)(asked["sqlite"]),
        }

    def answers(self, conn: Connection, asked: Sequence[tuple[int | datetime, ...]]) -> Sequence[Row[Any]]:
        """The rows of the statement."""
        statement = self._statements[conn.dialect.name]
        if conn.dialect.name == "sqlite":
            return conn.execute(statement, {"asked": json.dumps(asked, default=_as_stored)}).all()
        columns = enumerate(zip(*asked, strict=True))
        return conn.execute(statement, {f"column_{at}": list(values) for at, values in columns}).all()

    def who(self, conn: Connection, asked: Sequence[tuple[int | datetime, ...]]) -> set[int]:
        """The first column: the customers for whom the answer is yes."""
        return {row[0] for row in self.answers(conn, asked)}


def _as_stored(time: datetime) -> str:
    """As SQLAlchemy writes it to SQLite: a parameter within JSON does not pass through the column's type."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
