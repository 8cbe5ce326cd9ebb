"""Rows whose bytes are in the raw stream only: what flask says of them, and where it gets their bytes."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import db.customers
from db.engine import read
from streams import Envelope, encode_envelope, raw
from tasks.decoders import FORMATS
from tests.commands import flask, flask_json
from tests.envelopes import envelope
from tests.integration import ledger_rows
from tests.receiver import RETENTION, Home
from tests.unit import decode_samples as samples
from webapp.commands.exits import Exit

BATCH = b"not an arrow stream" * 10
EVENTS = samples.table(5)
ARRAY = samples.written(EVENTS, "json")
AT = 3  # the row of an event
EVENT = next(iter(FORMATS["json"].pick(ARRAY, [AT])))
GARBAGE = b"no envelope"


def zipped(slug: str, body: bytes) -> bytes:
    body = gzip.compress(body)
    return encode_envelope(
        Envelope(
            batch_id="batch-1",
            customer=slug,
            agent="probe",
            format="json",
            content_type="application/json",
            content_encoding="gzip",
            accepted_at_us=ledger_rows.NOW_US,
            digest=hashlib.sha256(body).digest(),
            body=body,
        )
    )


@pytest.fixture
def held(home: Home, slug: str) -> str:
    """A customer with a batch, an event and a message in quarantine, whose bytes are not there."""
    home.add(slug)
    home.limit(slug, quarantine_daily_bytes=1)
    at_us = ledger_rows.NOW_US
    sent = [envelope(slug, "batch-0", BATCH, accepted_at_us=at_us), zipped(slug, ARRAY), GARBAGE]
    home.broker.publish_all(raw(slug), sent, deadline_s=10)
    with read(home.engine) as connection:
        customer = db.customers.get(connection, slug)
    assert customer is not None
    rows = [
        ledger_rows.new_quarantine(0, bytes=BATCH),
        ledger_rows.new_quarantine(1, row=AT, format="json", bytes=EVENT),
        ledger_rows.new_quarantine(2, reason="not_an_envelope", format="", bytes=GARBAGE),
    ]
    window = ledger_rows.new_window(0, 2, skipped=[0, 1, 2], batches=0)
    epoch = ledger_rows.claim(home.engine, customer)
    ledger_rows.record(home.engine, customer, epoch, 0, 2, window=window, batches=[], reused=rows)
    return slug


def rows(home: Home, slug: str) -> list[dict[str, Any]]:
    """Oldest first."""
    found = flask_json(home, "quarantine", "list", "--customer", slug)["quarantine"]
    return sorted(found, key=lambda row: int(row["id"]))


def replaced(home: Home, slug: str) -> None:
    """Another stream under the customer's name, with other batches at the same offsets."""
    home.broker.delete(raw(slug))
    home.broker.declare(
        raw(slug),
        max_bytes=RETENTION.raw_bytes,
        max_age_s=RETENTION.raw_age_s,
        segment_bytes=RETENTION.raw_segment_bytes,
    )
    others = [envelope(slug, f"batch-{at}", b"[0]", accepted_at_us=1, form="json") for at in range(3)]
    home.broker.publish_all(raw(slug), others, deadline_s=10)


def test_bytes_beyond_the_budget_are_shown_exported_and_replayed_from_the_raw_stream(
    home: Home, held: str, tmp_path: Path
) -> None:
    found = rows(home, held)
    assert [(one["size"], one["withheld"]) for one in found] == [
        (0, len(BATCH)),
        (0, len(EVENT)),
        (0, len(GARBAGE)),
    ]
    listed = flask(home, "quarantine", "list", "--customer", held).stdout
    assert f"{len(BATCH)} in stream" in listed
    ids = [str(one["id"]) for one in found]
    assert "in the raw stream only" in flask(home, "quarantine", "show", ids[0]).stdout
    for row_id, data in zip(ids, (BATCH, EVENT, GARBAGE), strict=True):
        assert flask(home, "quarantine", "show", row_id, "--bytes").stdout_bytes == data
    folder = tmp_path / "out"
    assert flask(home, "quarantine", "export", "--customer", held, "--to", str(folder)).exit_code == Exit.OK
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    for line, data in zip(index, (BATCH, EVENT, GARBAGE), strict=True):
        assert (folder / line["file"]).read_bytes() == data
        assert line["sha256"] == hashlib.sha256(data).hexdigest()
    said = flask_json(home, "quarantine", "replay", "--customer", held)
    assert (said["batches"], said["events"]) == (1, 1)
    sent = home.envelopes(held, 3)
    assert [(bytes(one.body), one.format, one.content_encoding) for one in sent] == [
        (BATCH, "ndjson", ""),
        (EVENT, "json", ""),
    ]
    assert [row["state"] for row in rows(home, held)] == ["replayed", "replayed", "kept"]


def test_bytes_that_the_raw_stream_lost_are_said_to_be_gone_and_no_others_taken_for_them(
    home: Home, held: str, tmp_path: Path
) -> None:
    replaced(home, held)
    ids = [str(one["id"]) for one in rows(home, held)]
    said = flask(home, "quarantine", "replay", "--customer", held)
    assert (said.exit_code, said.stderr.count("does not have them any more")) == (Exit.OK, 3)
    assert [row["state"] for row in rows(home, held)] == ["kept"] * 3
    named = flask(home, "quarantine", "replay", "--customer", held, "--id", ids[0])
    assert named.exit_code == Exit.REFUSED
    for row_id in ids:
        assert flask(home, "quarantine", "show", row_id, "--bytes").exit_code == Exit.NOT_FOUND
    folder = tmp_path / "out"
    flask(home, "quarantine", "export", "--customer", held, "--to", str(folder))
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert [line["file"] for line in index] == [None] * 3
    assert index[0]["sha256"] == hashlib.sha256(BATCH).hexdigest()


def test_the_bytes_of_a_discarded_row_are_not_fetched_from_the_raw_stream(
    home: Home, held: str, tmp_path: Path
) -> None:
    ids = [str(one["id"]) for one in rows(home, held)]
    words = ("--by", "ann", "--why", "test devices", "--yes")
    flask(home, "quarantine", "discard", "--customer", held, "--id", ids[0], *words)
    gone, *others = rows(home, held)
    assert (gone["state"], gone["size"], gone["withheld"], gone["sha256"]) == ("discarded", 0, None, None)
    assert [one["withheld"] for one in others] == [len(EVENT), len(GARBAGE)]
    assert "in the raw stream" not in flask(home, "quarantine", "show", ids[0]).stdout
    assert flask(home, "quarantine", "show", ids[0], "--bytes").stdout_bytes == b""
    folder = tmp_path / "out"
    flask(home, "quarantine", "export", "--customer", held, "--to", str(folder))
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    assert [str(line["id"]) for line in index] == ids[1:]
    [one] = flask_json(home, "books", "--customer", held)["customers"]
    assert (one["balanced"], one["quarantine_days"]["withheld"]) == (True, 3)


def test_the_books_and_the_customer_say_what_was_withheld(home: Home, held: str) -> None:
    size = len(BATCH) + len(EVENT) + len(GARBAGE)
    [one] = flask_json(home, "books", "--customer", held)["customers"]
    assert one["quarantine_days"] == {"bytes": 0, "withheld": 3, "withheld_bytes": size}
    assert "3 rows of quarantine were over" in flask(home, "books", "--customer", held).stdout
    shown = flask_json(home, "customers", "show", held)
    assert (shown["quarantine_daily_bytes"], shown["quarantine_withheld_today"]) == (1, 0)
