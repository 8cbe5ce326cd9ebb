"""What the database says of a run, in plain SQL: events committed, and each batch's way in time."""

import numpy as np
import numpy.typing as npt
from sqlalchemy import Engine, create_engine, text

from bench.check.totals import Totals, stored
from bench.measuring.figures import Latency

_COMMITTED = text("SELECT COALESCE(SUM(decoded), 0) FROM windows WHERE state = 'deposited' AND id > :since")
_BATCHES = text(
    "SELECT COUNT(*) FROM batches b JOIN windows w ON w.id = b.window_id"
    " WHERE w.state = 'deposited' AND b.accepted_at >= :first"
)
_RUNG = text("SELECT COALESCE(SUM(rings - 1), 0) FROM windows WHERE id > :since")
_LAST = text("SELECT COALESCE(MAX(id), 0) FROM windows")
_SHAPE = text(
    "SELECT COUNT(*), COALESCE(SUM(batches), 0), COALESCE(SUM(decoded), 0) FROM windows"
    " WHERE state = 'deposited' AND id > :since"
)
# A row's last writer is the transaction that deposited its window: the time of that commit is known on
# PostgreSQL. On SQLite the time within the transaction has to do.
_COMMITTED_AT = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM pg_xact_commit_timestamp(w.xmin)) * 1000000 AS bigint)",
    "sqlite": "w.deposited_at",
}


class LedgerReader:
    """Reads one database of Sluice; knows its tables, none of its code."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url)
        self._ended = _COMMITTED_AT[self._engine.dialect.name]

    def committed(self, since: int) -> int:
        """Events deposited in windows recorded after the window `since`."""
        return self._number(_COMMITTED, since=since)

    def totals(self) -> Totals:
        """Sums of all that is there of all customers."""
        with self._engine.connect() as connection:
            return stored(connection)

    def last_window(self) -> int:
        return self._number(_LAST)

    def window_shape(self, since: int) -> dict[str, float]:
        """How large the windows after `since` were on average."""
        with self._engine.connect() as connection:
            windows, batches, events = (
                int(value) for value in connection.execute(_SHAPE, {"since": since}).one()
            )
        each = max(windows, 1)
        return {"windows": windows, "batches_each": batches / each, "events_each": events / each}

    def latency(self, since: int, from_us: int, to_us: int) -> Latency:
        """From accepted to committed, of the batches accepted in a span of time (µs since 1970)."""
        statement = text(
            f"SELECT {self._ended} - b.accepted_at FROM windows w JOIN batches b ON b.window_id = w.id"  # noqa: S608
            " WHERE w.state = 'deposited' AND w.id > :since AND b.accepted_at BETWEEN :first AND :last"
        )
        with self._engine.connect() as connection:
            rows = connection.execute(statement, {"since": since, "first": from_us, "last": to_us}).all()
        micros: npt.NDArray[np.int64] = np.array([row[0] for row in rows], dtype=np.int64)
        return Latency.of(micros / 1e3)

    def way(self, slug: str, from_us: int, to_us: int) -> dict[str, Latency]:
        """The way of one customer's batches accepted in a span of time: whole, and in its parts."""
        statement = text(
            f"SELECT {self._ended} - b.accepted_at, w.created_at - b.accepted_at,"  # noqa: S608
            f" {self._ended} - w.created_at"
            " FROM windows w JOIN batches b ON b.window_id = w.id JOIN customers c ON c.id = w.customer_id"
            " WHERE w.state = 'deposited' AND c.slug = :slug AND b.accepted_at BETWEEN :first AND :last"
        )
        with self._engine.connect() as connection:
            rows = connection.execute(statement, {"slug": slug, "first": from_us, "last": to_us}).all()
        ms = np.array(rows, dtype=np.int64).reshape(-1, 3) / 1e3
        names = ("accepted_to_committed", "accepted_to_recorded", "recorded_to_committed")
        return {name: Latency.of(ms[:, at]) for at, name in enumerate(names)}

    def batches(self, accepted_since_us: int) -> int:
        """Batches of all customers accepted since that are committed."""
        return self._number(_BATCHES, first=accepted_since_us)

    def deposited(self, slug: str, from_us: int, to_us: int) -> dict[str, int]:
        """Batches and events of one customer that were committed in a span of time, and its windows."""
        statement = text(
            "SELECT COUNT(*), COALESCE(SUM(w.batches), 0), COALESCE(SUM(w.decoded), 0) FROM windows w"
            " JOIN customers c ON c.id = w.customer_id"
            " WHERE c.slug = :slug AND w.deposited_at BETWEEN :first AND :last"
        )
        with self._engine.connect() as connection:
            row = connection.execute(statement, {"slug": slug, "first": from_us, "last": to_us}).one()
        return dict(zip(("windows", "batches", "events"), map(int, row), strict=True))

    def rung_again(self, since: int) -> int:
        """How often windows after `since` were rung again."""
        return self._number(_RUNG, since=since)

    def close(self) -> None:
        self._engine.dispose()

    def _number(self, statement: object, **values: int) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(statement, values).scalar_one())  # type: ignore[call-overload]
