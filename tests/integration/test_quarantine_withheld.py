"""Rows whose bytes are in the raw stream only: what flask says of them, and where it gets their bytes."""

import contextlib
import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import db.customers.rows
from db.engine import read
from db.quarantine.rows import NewQuarantine
from streams import Envelope, encode_envelope, raw
from tasks.decoders import FORMATS, decompress
from tests.commands import flask, flask_json
from tests.envelopes import envelope
from tests.integration import ledger_rows
from tests.receiver import RETENTION, Home
from tests.unit import decode_samples as samples
from tests.unit.test_decode_bombs import claiming
from webapp.terminal.exits import Exit

BATCH = b"not an arrow stream" * 10
EVENTS = samples.table(5)
ARRAY = samples.written(EVENTS, "json")
AT = 3  # the row of an event
EVENT = next(iter(FORMATS["json"].pick(ARRAY, [AT])))
GARBAGE = b"no envelope"


def zipped(slug: str, body: bytes, *, form: str = "json") -> bytes:
    body = gzip.compress(body)
    return encode_envelope(
        Envelope(
            batch_id="batch-1",
            customer=slug,
            agent="probe",
            format=form,
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
    sent = [
        envelope(slug, "batch-0", BATCH, accepted_at_us=ledger_rows.NOW_US),
        zipped(slug, ARRAY),
        GARBAGE,
    ]
    withhold(
        home,
        slug,
        sent,
        [
            ledger_rows.new_quarantine(0, bytes=BATCH),
            ledger_rows.new_quarantine(1, row=AT, format="json", bytes=EVENT),
            ledger_rows.new_quarantine(2, reason="not_an_envelope", format="", bytes=GARBAGE),
        ],
    )
    return slug


def withhold(home: Home, slug: str, sent: list[bytes], quarantined: list[NewQuarantine]) -> None:
    """A new customer with these messages in its raw stream, and these rows, whose bytes are not kept."""
    home.add(slug)
    home.limit(slug, quarantine_daily_bytes=1)
    home.broker.publish_all(raw(slug), sent, deadline_s=10)
    with read(home.engine) as connection:
        customer = db.customers.rows.get(connection, slug)
    assert customer is not None
    last = len(sent) - 1
    window = ledger_rows.new_window(0, last, skipped=list(range(last + 1)), batches=0)
    epoch = ledger_rows.claim(home.engine, customer)
    ledger_rows.record(home.engine, customer, epoch, 0, last, window=window, batches=[], reused=quarantined)


@contextlib.contextmanager
def decompressions() -> Iterator[list[str]]:
    """The content encodings of what this thread decompresses meanwhile, in order."""
    found: list[str] = []

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is decompress.__code__:
            found.append(frame.f_locals["encoding"])

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)


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
    assert (one["balanced"], one["quarantine_withheld"]) == (True, 3)


def test_a_batch_is_decoded_once_for_all_its_withheld_events(home: Home, slug: str, tmp_path: Path) -> None:
    events = list(FORMATS["json"].pick(ARRAY, range(5)))
    quarantined = [
        ledger_rows.new_quarantine(offset, batch_id="batch-1", row=row, format="json", bytes=data)
        for offset in (0, 1)
        for row, data in [(99, b"of no event"), *enumerate(events)]
    ]
    withhold(home, slug, [zipped(slug, ARRAY), zipped(slug, ARRAY)], quarantined)
    folder = tmp_path / "out"
    with decompressions() as found:
        assert (
            flask(home, "quarantine", "export", "--customer", slug, "--to", str(folder)).exit_code == Exit.OK
        )
    assert found == ["gzip"] * 2
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    written = [line["file"] and (folder / line["file"]).read_bytes() for line in index]
    assert written == [None, *events] * 2
    with decompressions() as found:
        said = flask_json(home, "quarantine", "replay", "--customer", slug)
    assert found == ["gzip"] * 2
    assert (said["events"], len(said["skipped_rows"])) == (10, 2)
    assert [bytes(one.body) for one in home.envelopes(slug, 2)] == events * 2


def test_an_event_of_a_batch_that_unpacks_to_too_much_is_not_said_to_be_gone(home: Home, slug: str) -> None:
    bomb = zipped(slug, claiming(2**33), form="arrow")
    events = [
        ledger_rows.new_quarantine(0, batch_id=batch_id, row=AT, format="arrow", bytes=EVENT)
        for batch_id in ("batch-1", "another batch")
    ]
    withhold(home, slug, [bomb], events)
    of_it, _ = rows(home, slug)
    shown = flask(home, "quarantine", "show", str(of_it["id"]), "--bytes")
    assert shown.exit_code == Exit.NOT_FOUND
    assert "unpacks to more than 268,435,456 bytes" in shown.stderr
    skipped = flask_json(home, "quarantine", "replay", "--customer", slug)["skipped_rows"]
    assert [one["batch_id"] for one in skipped] == ["batch-1", "another batch"]
    assert "unpacks to more than 268,435,456 bytes" in skipped[0]["why"]
    assert "does not have them any more" in skipped[1]["why"]


def test_the_books_and_the_customer_say_what_was_withheld(home: Home, held: str) -> None:
    size = len(BATCH) + len(EVENT) + len(GARBAGE)
    [one] = flask_json(home, "books", "--customer", held)["customers"]
    assert (one["quarantine_bytes"], one["quarantine_withheld"]) == (0, 3)
    assert one["quarantine_withheld_bytes"] == size
    assert "3 rows of quarantine were over" in flask(home, "books", "--customer", held).stdout
    shown = flask_json(home, "customers", "show", held)
    assert (shown["quarantine_daily_bytes"], shown["quarantine_withheld_today"]) == (1, 0)
