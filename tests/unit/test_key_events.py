"""Events are counted for the public key that their batch came with, by the day of its acceptance."""

import json

from db.clock import DAY_US
from db.customers.public_key_events import KeyDay
from streams import Envelope
from tasks.decoders import DecodedBatches, DecodeLimits, RawBatch, decode_batches
from tasks.handover import Header, KeyEvents, pack, peek
from tasks.stages.key_events import counted, summed
from tests.unit.log_exports import errors
from tests.unit.test_envelope import envelope

DAY = 20_000
NOON_US = DAY * DAY_US + DAY_US // 2


def lines(good: int, bad: int = 0) -> bytes:
    events = [
        {"trace_id": "1" * 32, "event_id": f"{number:016x}", "started_at": NOON_US, "duration_us": 1}
        | {"service": "shop", "operation": "GET /", "status": "ok"}
        for number in range(1, good + 1)
    ]
    return b"".join(json.dumps(one).encode() + b"\n" for one in [*events, *[{"trace_id": 1}] * bad])


def batch(body: bytes, key: int | None, *, form: str = "ndjson", at_us: int = NOON_US) -> Envelope:
    return envelope(body=body, public_key_id=key, format=form, accepted_at_us=at_us)


def decoded(envelopes: list[Envelope]) -> DecodedBatches:
    batches = [
        RawBatch(body=one.body, format=one.format, content_encoding="", accepted_at_us=one.accepted_at_us)
        for one in envelopes
    ]
    return decode_batches(batches, DecodeLimits())


def of_key(envelopes: list[Envelope]) -> set[tuple[int, int, int]]:
    return {(one.key_id, one.day, one.events) for one in counted(envelopes, decoded(envelopes))}


def test_good_events_rejects_and_log_records_count_for_their_batchs_key() -> None:
    envelopes = [
        batch(lines(3), None),
        batch(lines(4, bad=2), 7),
        batch(errors(5), 8, form="otlp-logs-protobuf"),
        batch(lines(1), 7),
        batch(b"no json", 9, form="json"),
        batch(lines(0, bad=1), 10),
    ]
    assert of_key(envelopes) == {(7, DAY, 7), (8, DAY, 5), (10, DAY, 1)}


def test_the_day_is_that_of_acceptance() -> None:
    midnight_us = (DAY + 1) * DAY_US
    envelopes = [batch(lines(1), 7, at_us=midnight_us - 1), batch(lines(2), 7, at_us=midnight_us)]
    assert of_key(envelopes) == {(7, DAY, 1), (7, DAY + 1, 2)}


def test_windows_without_public_keys_count_nothing() -> None:
    envelopes = [batch(lines(3), None)]
    assert counted(envelopes, decoded(envelopes)) == []
    assert not summed([header()])


def header(window: int = 1, customer: int = 1, events: list[KeyEvents] | None = None) -> Header:
    return Header(
        window_id=window,
        customer_id=customer,
        customer="acme",
        token=1,
        batches=1,
        pipeline="",
        decoded=9,
        key_events=events or [],
    )


def test_a_deposit_adds_up_what_its_windows_count() -> None:
    seven, eight = (KeyEvents(key_id=key, day=DAY, events=2 * key) for key in (7, 8))
    headers = [header(1, events=[seven, eight]), header(2, events=[seven]), header(3, 2, [eight])]
    assert summed(headers) == {KeyDay(1, 7, DAY): 28, KeyDay(1, 8, DAY): 16, KeyDay(2, 8, DAY): 16}


def test_what_is_counted_travels_with_the_window() -> None:
    one = header(events=[KeyEvents(key_id=7, day=DAY, events=3)])
    assert peek(pack(one, {}))[0] == one
