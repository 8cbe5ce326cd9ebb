"""Everything nasty at once, from an agent's POST to the database: the good is there, the books balance."""

import gzip
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from sqlalchemy import Engine, text

from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_whole import event, ndjson, scalar, settled
from tests.unit import decode_samples as samples
from tests.whole import Whole, running, until

NUL = "\0"
JSON_REJECTS: dict[str, dict[str, Any]] = {
    "nul_character": {"service": f"shop{NUL}"},
    "bad_time": {"started_at": "1970-01-01T00:00:00Z"},
    "bad_duration": {"duration_us": 2**53},
    "bad_attributes": {"attributes": {str(number): number for number in range(10_000)}},
    "bad_operation": {"operation": "x" * 100_000},
    "bad_trace_id": {"trace_id": NUL * 32},
    "bad_field": {"duration_us": 10**400},
}
STRANGE: dict[str, dict[str, Any]] = {
    "the longest text": {
        "operation": "é" * 512,
        "user_id": "\U0001f600" * 256,
        "status_message": "\x7f" * 16_384,
    },
    "NUL that is escaped twice": {"attributes": {"a": [NUL, {"b": NUL}], "": "\\u0000"}},
    "controls": {"service": "\x01\x1b\u2028\ufeff", "attributes": {"\x01\n": '"\\'}},
    "as many attributes as may be": {"attributes": {f"{number:0256}": "\\" * 500 for number in range(128)}},
    "the deepest value": {"attributes": {"a": json.loads("[" * 100 + "]" * 100)}},
    "the longest durations": {"duration_us": 2**53 - 1},
    "the oldest time": {"started_at": 946_684_800_000_000},
}


@pytest.fixture
def whole(tmp_path: Path, rabbitmq: RabbitNode, database_url: str) -> Iterator[Whole]:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    # All of it in one window, so that the bad would hurt the good if it could.
    with running(tmp_path, **urls, SLUICE_TASK_LINGER_MS="3000") as whole:
        yield whole


def unfit() -> dict[str, tuple[bytes, str, dict[str, str]]]:
    """Batches by the reason for which they are to be quarantined: body, path, headers."""
    arrow = {"Content-Type": "application/vnd.apache.arrow.stream"}
    gzipped, zstd = {"Content-Encoding": "gzip"}, {"Content-Encoding": "zstd"}
    protobuf = {"Content-Type": "application/x-protobuf"}
    events = samples.table(2)
    named = samples.with_column(
        events, "service", pa.array([{f"a{NUL}{number}": 1 for number in range(500)}] * 2)
    )
    nothing = pa.table({name: pa.nulls(600_000) for name in events.schema.names})
    return {
        "bad_schema": (samples.ipc(named), "/v1/batches", arrow),
        "too_many_events": (samples.ipc(nothing), "/v1/batches", arrow),
        "malformed": (b"\x0a\xff\xff\xff\x7f" + b"\0" * 50, "/v1/traces", protobuf),
        "not_understood": (
            b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}',
            "/v1/traces",
            {"Content-Type": "application/json"},
        ),
        "bad_encoding": (gzip.compress(b"x" * 999)[:-5], "/v1/batches", gzipped),
        "ratio_exceeded": (zstandard.compress(bytes(2**27)), "/v1/batches", zstd),
        "too_large": (gzip.compress(bytes(range(256)) * 2**19), "/v1/batches", gzipped),
        "too_many_values": (b"[" * 2**22, "/v1/batches", {"Content-Type": "application/json"}),
        "too_many_rejects": (b"\0\n" * 1_001, "/v1/batches", {}),
    }


def test_the_books_balance_over_everything_nasty_and_the_good_is_there(
    whole: Whole, engine: Engine, slug: str
) -> None:
    key = whole.add_customer(slug)
    lines = [event(secrets.token_hex(16), **changes) for changes in STRANGE.values()]
    twice = event(secrets.token_hex(16))
    good = [
        *lines,
        twice,
        twice,
        *(event(secrets.token_hex(16), duration_us=2**53 - 1) for _ in range(1_100)),
    ]
    bad = [event(secrets.token_hex(16)) | changes for changes in JSON_REJECTS.values()]
    whole_batches = unfit()
    raw_lines = b'{"service":"\xff\xfe"}\n{"a":NaN}\n' + b"{" * 100_000 + b"\n\xef\xbb\xbf{}\n"

    def post(name: str, body: bytes, path: str = "/v1/batches", **headers: str) -> None:
        sent = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": name,
        }
        assert whole.post(path, body, sent | headers).status in (200, 202)

    post("good", ndjson(*good))
    post("mixed", ndjson(*bad) + raw_lines)
    for reason, (body, path, headers) in whole_batches.items():
        post(reason, body, path, **headers)
    post("good-too", ndjson(event(secrets.token_hex(16))))

    until(lambda: settled(whole, slug), "balanced books")
    with engine.connect() as connection:
        rows = connection.execute(text('SELECT batch_id, reason, "row", bytes, detail FROM quarantine')).all()
    kept = {row.batch_id: (row.reason, bytes(row.bytes)) for row in rows if row.row is None}
    assert kept == {reason: (reason, body) for reason, (body, _, _) in whole_batches.items()}
    assert max(len(row.detail) for row in rows) <= 200
    rejected = sorted(row.reason for row in rows if row.batch_id == "mixed")
    assert rejected == sorted([*JSON_REJECTS, "bad_utf8", "not_json", "not_json", "not_json"])
    assert scalar(engine, "SELECT sum(events) FROM interactions") == len(good) + 1
    assert scalar(engine, "SELECT sum(count) FROM rollups") == len(good) + 1
    assert scalar(engine, "SELECT max(duration_sum) FROM rollups") == 2**63 - 1
    assert scalar(engine, "SELECT count(*) FROM windows WHERE kept > 0 AND quarantined > 0") > 0
    whole.flask("verify", slug)
