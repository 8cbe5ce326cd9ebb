"""What makes an event fit, at the bounds; and what makes a batch unfit because too little of it fits."""

from typing import Any

import pyarrow as pa
import pytest

from tasks.decoders import RejectReason
from tasks.errors import WindowTooLarge
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import ACCEPTED_US, decode, ndjson, one, raw, reasons

DAY_US = 86_400_000_000
MANY = {str(number): number for number in range(128)}


@pytest.mark.parametrize(
    ("reason", "good", "bad"),
    [
        ("bad_event_id", {"event_id": "0" * 15 + "1"}, {"event_id": "0" * 16}),
        ("bad_trace_id", {"trace_id": "1" + "0" * 31}, {"trace_id": "0" * 32}),
        ("bad_time", {"started_at": 946_684_800_000_000}, {"started_at": 946_684_799_999_999}),
        ("bad_time", {"started_at": ACCEPTED_US + DAY_US}, {"started_at": ACCEPTED_US + DAY_US + 1}),
        ("bad_time", {"started_at": "2000-01-01T00:00:00Z"}, {"started_at": "2200-01-01T00:00:00Z"}),
        ("bad_time", {"started_at": ACCEPTED_US}, {"started_at": 2**63 - 1}),
        ("bad_time", {"started_at": ACCEPTED_US}, {"started_at": -(2**63)}),
        ("bad_duration", {"duration_us": 0}, {"duration_us": -1}),
        ("bad_duration", {"duration_us": 2**53 - 1}, {"duration_us": 2**53}),
        ("bad_service", {"service": "a"}, {"service": ""}),
        ("bad_service", {"service": "é" * 512}, {"service": "é" * 512 + "a"}),
        ("bad_operation", {"operation": "a" * 1_024}, {"operation": "a" * 1_025}),
        ("bad_operation", {"operation": " "}, {"operation": ""}),
        ("bad_kind", {"kind": "k" * 64}, {"kind": "k" * 65}),
        ("bad_status", {"status": "ERROR"}, {"status": "unset"}),
        ("bad_status", {"status": None}, {"status": ""}),
        ("bad_status_message", {"status_message": "m" * 16_384}, {"status_message": "m" * 16_385}),
        ("bad_user_id", {"user_id": "u" * 1_024}, {"user_id": "u" * 1_025}),
        ("bad_attributes", {"attributes": MANY}, {"attributes": MANY | {"one": "more"}}),
        ("bad_attributes", {"attributes": {"k" * 256: ""}}, {"attributes": {"k" * 257: ""}}),
        ("bad_attributes", {"attributes": {"": "v" * 16_384}}, {"attributes": {"": "v" * 16_385}}),
        ("nul_character", {"service": "a"}, {"service": "a\0"}),
        ("nul_character", {"status_message": "a"}, {"status_message": "\0"}),
        ("nul_character", {"attributes": {"a": "b"}}, {"attributes": {"a\0": "b"}}),
        ("nul_character", {"attributes": {"a": "b"}}, {"attributes": {"a": "b\0"}}),
        ("bad_field", {"duration_us": 5}, {"duration_us": 2**63}),
        ("bad_field", {"service": "a"}, {"service": None}),
        ("bad_field", {"attributes": None}, {"attributes": []}),
    ],
)
def test_an_event_fits_up_to_the_bound_and_no_further(
    reason: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    decoded = decode(raw(ndjson(one(), one(**good), one(**bad), one())))
    assert (decoded.counts, reasons(decoded)) == ([3], [reason])
    assert (decoded.rejects[0].batch, decoded.rejects[0].row) == (0, 2)


@pytest.mark.parametrize("form", samples.FORMATS)
def test_the_same_wrong_events_are_found_in_every_format(form: str) -> None:
    events = samples.table(40)
    services = ["a\0b", "", "x" * 2_000, *["fine"] * 37]
    wrong = samples.with_column(events, "service", pa.array(services))
    decoded = decode(raw(samples.written(events, form), form), raw(samples.written(wrong, form), form))
    if form.startswith("otlp"):  # an empty service.name is as good as none
        assert (decoded.counts, sorted(reasons(decoded))) == ([40, 38], ["bad_service", "nul_character"])
    else:
        assert decoded.counts == [40, 37]
        assert [(reject.batch, reject.row) for reject in decoded.rejects] == [(1, 0), (1, 1), (1, 2)]
        assert reasons(decoded) == ["nul_character", "bad_service", "bad_service"]


def test_status_and_kind_come_out_in_lower_case_and_status_is_ok_when_not_given() -> None:
    decoded = decode(raw(ndjson(one(status="ERROR", kind="SERVER"), one(status=None, kind="Mine"))))
    assert decoded.events["status"].to_pylist() == ["error", "ok"]
    assert decoded.events["kind"].to_pylist() == ["server", "mine"]


def test_each_batch_is_held_to_the_time_it_was_accepted_at() -> None:
    line = ndjson(one(started_at=ACCEPTED_US))
    decoded = decode(raw(line), raw(line, accepted_us=ACCEPTED_US - 2 * DAY_US))
    assert (decoded.counts, reasons(decoded)) == ([1, 0], ["bad_time"])
    assert decoded.rejects[0].batch == 1


def test_the_first_thing_that_is_wrong_names_the_reason() -> None:
    assert reasons(decode(raw(ndjson(one(event_id="0" * 16, status="bad", service="\0"))))) == [
        "bad_event_id"
    ]


def test_rows_are_counted_as_the_agent_sent_them() -> None:
    decoded = decode(raw(ndjson(b"{", one(), b"", one(status="bad"), one(event_id="x"), one(service=""))))
    assert [(reject.row, reject.reason) for reject in decoded.rejects] == [
        (0, "not_json"),
        (3, "bad_status"),
        (4, "bad_event_id"),
        (5, "bad_service"),
    ]


@pytest.mark.parametrize("bad", [{"status": "bad"}, {"event_id": "x"}, {"service": 5}])
def test_too_many_rejects_make_the_batch_unfit_and_leave_its_neighbours_alone(bad: dict[str, Any]) -> None:
    lines = ndjson(*[one(**bad)] * 11, one())
    decoded = decode(raw(ndjson(one())), raw(lines), raw(ndjson(one(), one(**bad))), rejects=10)
    assert (decoded.counts, len(decoded.rejects)) == ([1, 0, 1], 1)
    assert {index: error.reason for index, error in decoded.unfit.items()} == {1: "too_many_rejects"}
    assert decoded.rejects[0].batch == 2


def test_too_many_bytes_of_rejects_make_the_batch_unfit() -> None:
    lines = ndjson(one(), *[one(status="bad", status_message="m" * 1_000)] * 5)
    assert decode(raw(lines), reject_bytes=10_000).counts == [1]
    assert decode(raw(lines), reject_bytes=5_000).unfit[0].reason == "too_many_rejects"


def test_rejects_of_decoder_and_validation_count_together() -> None:
    lines = ndjson(one(), *[b"{"] * 6, *[one(status="bad")] * 6)
    assert decode(raw(lines), rejects=12).counts == [1]
    assert decode(raw(lines), rejects=11).unfit[0].reason == "too_many_rejects"


@pytest.mark.parametrize("form", samples.FORMATS)
def test_too_many_events_make_the_batch_unfit(form: str) -> None:
    body = samples.written(samples.table(20), form)
    assert decode(raw(body, form), events=20).counts == [20]
    assert decode(raw(body, form), events=19).unfit[0].reason == "too_many_events"


@pytest.mark.parametrize("form", ["ndjson", "json", "otlp-json", "otlp-protobuf"])
def test_too_many_values_make_the_batch_unfit(form: str) -> None:
    body = samples.written(samples.table(200), form)
    assert decode(raw(body, form), values=100).unfit[0].reason == "too_many_values"


def test_a_window_that_is_too_large_is_cut_and_a_batch_that_is_too_large_is_unfit() -> None:
    batch = raw(samples.written(samples.table(500), "arrow"), "arrow")
    size = len(batch.body)
    assert decode(batch, batch, window_bytes=3 * size).counts == [500, 500]
    with pytest.raises(WindowTooLarge):
        decode(batch, batch, window_bytes=size + 100)
    assert decode(batch, window_bytes=size // 2).unfit[0].reason == "too_large"


def test_unfit_batches_leave_the_others_of_the_window_alone() -> None:
    good = raw(ndjson(one()))
    decoded = decode(
        raw(b"\xff", "arrow"), good, raw(b"x", encoding="gzip"), good, raw(b"", "nonsense"), good
    )
    assert decoded.counts == [0, 1, 0, 1, 0, 1]
    assert [decoded.unfit[index].reason for index in (0, 2, 4)] == [
        "malformed",
        "bad_encoding",
        "unknown_format",
    ]


def test_decoding_twice_gives_the_same() -> None:
    batches = [raw(ndjson(one(), one(status="bad"), b"{")), raw(b"", "arrow")]
    first, second = decode(*batches), decode(*batches)
    assert first.events.equals(second.events)
    assert (first.counts, first.rejects) == (second.counts, second.rejects)
    assert all(isinstance(reject.reason, RejectReason) for reject in first.rejects)
