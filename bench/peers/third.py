"""dlt: a resource reads the broker's queue, the pipeline loads Arrow tables by COPY, SQL rolls up.

Runs in an environment of its own: `python -m bench.peers.third`, with BROKER_URL, DATABASE_URL, QUEUE and
PIPELINES_FOLDER set, and NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID, which names each row's load; until
SIGTERM. A batch is acknowledged after its load was committed.
"""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.compute as pc
from kombu import Connection, Message, Queue

from bench.peers.otlp import rows

MOST_BATCHES = 200  # in a load
IDLE_S = 0.2
ROLL_UP = (
    "INSERT INTO rollups SELECT date_trunc('minute', started_at), service, operation, status, count(*),"
    " sum(duration_us), min(duration_us), max(duration_us) FROM events WHERE _dlt_load_id = %s"
    " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    " ON CONFLICT (minute, service, operation, status) DO UPDATE SET"
    " count = rollups.count + excluded.count,"
    " duration_sum = rollups.duration_sum + excluded.duration_sum,"
    " duration_min = LEAST(rollups.duration_min, excluded.duration_min),"
    " duration_max = GREATEST(rollups.duration_max, excluded.duration_max)"
)
ROLLUPS = (
    "CREATE TABLE IF NOT EXISTS rollups (minute timestamptz, service text, operation text, status text,"
    " count bigint, duration_sum bigint, duration_min bigint, duration_max bigint,"
    " PRIMARY KEY (minute, service, operation, status))"
)
TEXTS = ("event_id", "trace_id", "parent_id", "started_at", "service", "operation", "status", "attributes")
SCHEMA = pa.schema([*((name, pa.string()) for name in TEXTS), ("duration_us", pa.int64())])


def main() -> None:
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    address = os.environ["DATABASE_URL"]
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.postgres(credentials=address),
        dataset_name="public",
        pipelines_dir=os.environ["PIPELINES_FOLDER"],
    )
    with Connection(os.environ["BROKER_URL"]) as connection:
        while not stopping:
            load(pipeline, connection)


def load(pipeline: Any, connection: Connection) -> None:
    messages = drained(connection, Queue(os.environ["QUEUE"], durable=True))
    if not messages:
        return

    @dlt.resource(name="events", write_disposition="append", file_format="csv")
    def events() -> Iterator[pa.Table]:
        for message in messages:
            yield table(bytes(message.body))

    info = pipeline.run(events())
    with pipeline.sql_client() as client:
        client.execute_sql(ROLLUPS)
        for load_id in info.loads_ids:
            client.execute_sql(ROLL_UP, load_id)
    for message in messages:
        message.ack()


def drained(connection: Connection, queue: Queue) -> list[Message]:
    """What waits in the queue, up to a load's worth."""
    found: list[Message] = []
    with connection.Consumer(queue, on_message=found.append, prefetch_count=MOST_BATCHES):
        while len(found) < MOST_BATCHES:
            try:
                connection.drain_events(timeout=IDLE_S)
            except TimeoutError:
                break
    return found


def table(body: bytes) -> pa.Table:
    """A request as Arrow, the attributes as JSON text."""
    read = pa.Table.from_pylist(
        [{**row, "attributes": json.dumps(row["attributes"])} for row in rows(body, "gzip")], schema=SCHEMA
    )
    started = pc.cast(read["started_at"], pa.timestamp("us", "UTC"))
    return read.set_column(SCHEMA.get_field_index("started_at"), "started_at", started)


if __name__ == "__main__":
    main()
