"""What whole spans cost: `python -m bench.floors.kept`.

CPU time of decoding an event and of the pipeline, where no event is kept, where the default pipeline keeps
some, and where all are kept; and the bytes of a kept event's row on PostgreSQL, with its details and without.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
from sqlalchemy import text

import db.engine
from bench.floors import pure
from bench.installation.servers import migrate
from bench.load.workload import SDK, Kind
from bench.situations.prepare import say
from db.results import of_customer, write_events
from db.settings import DatabaseSettings
from deploy.local import postgres
from pipelines import DEFAULT, parse
from tasks.decoders import decode_batches, machine_code
from tasks.decoders.contract import DecodedBatches, DecodeLimits, RawBatch
from tasks.events import EVENTS
from tasks.processors import process

EVENTS_A_WINDOW = 10_000
TIMES = 15
ROWS_AT_ONCE = 1_000
COUNTED = '{"steps": [{"step": "redact"}, {"step": "normalise"}, {"step": "compose"}, {"step": "rollup"}]}'
ALL = '{"steps": [{"step": "redact"}, {"step": "keep", "percent": 100}]}'
KINDS = (SDK, replace(SDK, events=512), replace(SDK, form="otlp-json"), Kind())


def main() -> None:
    """Print it all; takes a minute."""
    machine_code()
    pure.FORMATS["otlp-json"] = "otlp-json"
    say(f"{os.cpu_count()} cores; CPU microseconds an event, the least of {TIMES} runs")
    say(f"{'':58}decode  counted  default pipeline (kept)  all kept")
    for kind in KINDS:
        window = pure.window(kind)[: max(1, EVENTS_A_WINDOW // kind.events)]
        good = _decoded(window).good
        calls: list[Callable[[], object]] = [
            partial(_decoded, window),
            *(partial(process, good, parse(steps)) for steps in (COUNTED, DEFAULT, ALL)),
        ]
        decode, counted, default, kept = (_least(call) / len(good) * 1e6 for call in calls)
        share = len(process(good, parse(DEFAULT)).events) / len(good)
        say(f"{kind.name:58}{decode:6.2f}{counted:9.2f}{default:18.2f} ({share:.1%}){kept:10.2f}")
    whole = process(_decoded(pure.window(KINDS[1])).good, parse(ALL)).events
    with _database() as url:
        for name, table in (("with details", whole), ("without", whole.select(EVENTS.names))):
            say(f"bytes of a kept event's row, {name}: {_row_bytes(url, table):,.0f}")


def _decoded(window: list[RawBatch]) -> DecodedBatches:
    return decode_batches(window, DecodeLimits())


def _least(call: Callable[[], object]) -> float:
    """CPU seconds of the fastest call."""
    call()
    taken = []
    for _ in range(TIMES):
        before = time.process_time()
        call()
        taken.append(time.process_time() - before)
    return min(taken)


@contextmanager
def _database() -> Iterator[str]:
    """The URL of a migrated database on a private server."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-kept-"))
    server = postgres.start(folder, fsync=False)
    try:
        url = server.create_database("kept")
        migrate(url)
        yield url
    finally:
        postgres.stop(folder)
        postgres.remove(folder)


def _row_bytes(url: str, events: pa.Table) -> float:
    """Of one in the table, without its indexes."""
    key = {"window_id": pa.repeat(pa.scalar(1, pa.int64()), len(events))}
    key["position"] = pa.arange(0, len(events)).cast(pa.int32())
    for name, values in key.items():
        events = events.append_column(name, values)
    engine = db.engine.connect(DatabaseSettings(url=url))
    try:
        with db.engine.begin(engine) as connection:
            connection.execute(text("TRUNCATE events"))
            for first in range(0, len(events), ROWS_AT_ONCE):
                write_events(connection, of_customer(1, events.slice(first, ROWS_AT_ONCE)))
        size = (
            "SELECT sum(pg_table_size(oid)) FROM pg_class WHERE relname LIKE 'events%' AND relkind IN ('r')"
        )
        with db.engine.read(engine) as connection:
            return float(connection.execute(text(size)).scalar_one()) / len(events)
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
