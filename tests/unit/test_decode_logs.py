"""Log records: what comes in comes out, in either encoding, and what is wrong with one costs no other."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tasks.decoders import DecodeLimits, RawBatch, decode_windows, events_at
from tasks.decoders.otlp_logs import fields
from tasks.errors import WindowTooLarge
from tests.unit import decode_samples as samples
from tests.unit.log_exports import (
    EXPORTS,
    JSON,
    NOW_NS,
    NOW_US,
    PROTOBUF,
    as_json,
    decoded,
    export,
    records,
    restored,
    sent,
    some,
)

Written = Callable[[ExportLogsServiceRequest], bytes]
BOTH: dict[str, Written] = {PROTOBUF: lambda request: request.SerializeToString(), JSON: as_json}


def rows(*bodies: tuple[bytes, str]) -> list[dict[str, Any]]:
    found = decoded(*bodies)
    assert (found.rejects, found.unfit) == ([], {})
    return [] if found.logs is None else found.logs.table.to_pylist()


@settings(deadline=None, max_examples=100)
@given(EXPORTS)
def test_what_goes_in_comes_out_of_both_encodings(groups: Any) -> None:
    request = export(groups)
    of_protobuf, of_json = (rows((write(request), form)) for form, write in BOTH.items())
    assert of_protobuf == of_json
    assert [restored(row) for row in of_protobuf] == sent(request)
    for row in of_protobuf:
        effective = row["observed_ns"] if row["time_ns"] is None else row["time_ns"]
        assert row["at"].timestamp() == pytest.approx(effective / 1e9, abs=1e-5)


def deep(value: AnyValue, depth: int) -> None:
    for _ in range(depth):
        value = value.array_value.values.add()


def attributes(record: Any, count: int, key: str = "k", text: str = "v") -> None:
    for _ in range(count):
        record.attributes.add(key=key, value=AnyValue(string_value=text))


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "no time": (lambda record: record.ClearField("time_unix_nano"), "bad_time"),
    "a time of the future": (lambda record: setattr(record, "time_unix_nano", NOW_NS + 10**15), "bad_time"),
    "a time of no database": (lambda record: setattr(record, "time_unix_nano", 2**64 - 1), "bad_time"),
    "a severity of nobody": (lambda record: setattr(record, "severity_number", 25), "bad_field"),
    "a long severity": (lambda record: setattr(record, "severity_text", "x" * 65), "bad_field"),
    "a long name": (lambda record: setattr(record, "event_name", "x" * 1_025), "bad_field"),
    "a long body": (lambda record: setattr(record.body, "string_value", "x" * 65_536), "bad_field"),
    "a huge record": (lambda record: attributes(record, 40, text="x" * 16_000), "bad_field"),
    "a zero": (lambda record: setattr(record.body, "string_value", "\0"), "nul_character"),
    "a short trace id": (lambda record: setattr(record, "trace_id", b"1"), "bad_trace_id"),
    "a short span id": (lambda record: setattr(record, "span_id", b"1"), "bad_event_id"),
    "many attributes": (lambda record: attributes(record, 129), "bad_attributes"),
    "a long key": (lambda record: attributes(record, 1, key="x" * 257), "bad_attributes"),
    "a long value": (lambda record: attributes(record, 1, text="x" * 16_400), "bad_attributes"),
    "a deep body": (lambda record: deep(record.body, 40), "bad_attributes"),
}


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize("case", WRONG)
def test_a_bad_record_costs_itself_alone_and_fails_again_alone(form: str, case: str) -> None:
    spoil, reason = WRONG[case]
    request = some(3)
    spoil(records(request)[1])
    body = BOTH[form](request)
    found = decoded((body, form))
    assert found.logs is not None
    assert found.logs.places.tolist() == [0, 2]
    [reject] = found.rejects
    assert (reject.row, reject.reason, reject.format, found.found) == (1, reason, form, 3)
    [alone] = decoded((reject.data, form)).rejects
    assert (alone.row, alone.reason, alone.data) == (0, reason, reject.data)
    batch = RawBatch(body=body, format=form, content_encoding="", accepted_at_us=NOW_US)
    assert list(events_at(batch, [1, 9], DecodeLimits())) == [(1, reject.data)]


def test_text_that_is_none_costs_one_record_of_protobuf() -> None:
    body = some(3, body="marker").SerializeToString().replace(b"marker", b"m\xffrker", 2)
    found = decoded((body, PROTOBUF))
    assert [reject.reason for reject in found.rejects] == ["bad_field"] * 2
    assert found.logs is not None
    assert len(found.logs.table) == 1


BAD_JSON = {
    b'{"timeUnixNano":"soon"}': "bad_time",
    b'{"timeUnixNano":"1.5"}': "bad_time",
    b'{"timeUnixNano":1,"severityNumber":"LOUD"}': "bad_field",
    b'{"timeUnixNano":1,"flags":-1}': "bad_field",
    b'{"timeUnixNano":1,"traceId":"xx"}': "bad_trace_id",
    b'{"timeUnixNano":1,"body":{"intValue":"12.5"}}': "bad_attributes",
    b'{"timeUnixNano":1,"body":{"doubleValue":1e999}}': "bad_field",
    b'{"timeUnixNano":1,"body":{"bytesValue":"?"}}': "bad_attributes",
    b'{"timeUnixNano":1,"body":"plain"}': "bad_field",
    b'{"timeUnixNano":1,"body":{"stringValue":"\xff"}}': "bad_utf8",
    b"{nonsense}": "not_json",
    b'{"body":' + b'{"arrayValue":{"values":[' * 200 + b"]}}" * 200 + b"}": "bad_attributes",
    b'{"body":' + b'{"arrayValue":{"values":[' * 8_000 + b"]}}" * 8_000 + b"}": "not_json",  # no parser reads
}


def test_json_that_cannot_be_read_costs_its_record_alone() -> None:
    good = b'{"timeUnixNano":"%d","body":{"stringValue":"ok"}}' % NOW_NS
    pieces = [good, *BAD_JSON, good]
    body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[%s]}]}]}' % b",".join(pieces)
    found = decoded((body, JSON))
    assert {reject.row: str(reject.reason) for reject in found.rejects} == dict(
        enumerate(BAD_JSON.values(), 1)
    )
    assert found.logs is not None
    assert found.logs.places.tolist() == [0, len(pieces) - 1]


def test_names_and_numbers_have_other_spellings_in_json() -> None:
    record = {
        "time_unix_nano": NOW_NS,
        "observedTimeUnixNano": f"{NOW_NS}",
        "severity_number": "SEVERITY_NUMBER_WARN",
        "body": {"kvlist_value": {"values": [{"key": "a_b", "value": {"int_value": 2e2}}]}},
        "trace_id": "AB" * 16,
    }
    scope = {"log_records": [record, {"timeUnixNano": NOW_NS, "severityNumber": "9"}]}
    older = {"resource_logs": [{"instrumentation_library_logs": [scope]}]}
    first, second = rows((json.dumps(older).encode(), JSON))
    assert (first["time_ns"], first["observed_ns"], first["severity_number"]) == (NOW_NS, NOW_NS, 13)
    pair = {"key": "a_b", "value": {"intValue": "200"}}
    assert json.loads(first["body"]) == {"kvlistValue": {"values": [pair]}}
    assert (first["trace_id"], first["service"]) == (b"\xab" * 16, "unknown_service")
    assert (second["severity_number"], second["scope"], second["resource"]) == (9, None, "{}")


UNFIT: dict[str, tuple[bytes, str, str]] = {
    "no protobuf": (b"\x0a\xff\xff\xff\x7f", PROTOBUF, "malformed"),
    "no object": (b"[]", JSON, "malformed"),
    "traces": (b'{"resourceSpans":[{"scopeSpans":[]}]}', JSON, "not_understood"),
    "another field": (b"\x12\x03abc", PROTOBUF, "not_understood"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_no_log_export_is_unfit_and_its_neighbours_are_not(case: str) -> None:
    body, form, reason = UNFIT[case]
    found = decoded((body, form), (some(2).SerializeToString(), PROTOBUF))
    assert {index: error.reason for index, error in found.unfit.items()} == {0: reason}
    assert found.logs is not None
    assert found.logs.batch_of.tolist() == [1, 1]


@pytest.mark.parametrize("form", BOTH)
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (DecodeLimits(events=19), "too_many_events"),
        (DecodeLimits(values=19), "too_many_values"),
        (DecodeLimits(window_bytes=5_000), "too_large"),
    ],
)
def test_each_bound_holds(form: str, limits: DecodeLimits, reason: str) -> None:
    request = some(20)
    request.resource_logs[0].resource.attributes[0].value.string_value = "s" * 500  # of each record
    found = decoded((BOTH[form](request), form), limits=limits)
    assert (found.unfit[0].reason, found.found) == (reason, 0)


def test_values_are_counted_one_by_one_where_bytes_do_not_tell() -> None:
    request = some(1)
    for number in range(20):
        records(request)[0].body.array_value.values.add(int_value=number)
    found = decoded((request.SerializeToString(), PROTOBUF), limits=DecodeLimits(values=15))
    assert found.unfit[0].reason == "too_many_values"


def test_strings_are_counted_before_they_are_told_apart() -> None:
    found = decoded((b'{"resourceLogs":[' + b'"":' * 100, JSON), limits=DecodeLimits(values=40))
    assert found.unfit[0].reason == "too_many_values"


@pytest.mark.parametrize(
    ("number", "written"),
    [(0.5, 0.5), (-2.0, -2.0), (-0.0, "-0.0"), (1e300, "1e+300"), (float("-inf"), "-Infinity")],
)
def test_a_double_that_a_database_would_change_is_written_as_text(number: float, written: object) -> None:
    value = fields.double(number)["doubleValue"]
    assert (value, type(value)) == (written, type(written))


def test_too_many_bad_records_are_too_many_rejects() -> None:
    request = some(20)
    for record in records(request):
        record.severity_number = 99
    found = decoded((request.SerializeToString(), PROTOBUF), limits=DecodeLimits(rejects=10))
    assert found.unfit[0].reason == "too_many_rejects"


def test_a_window_of_too_many_bytes_can_be_split() -> None:
    body = some(20).SerializeToString()
    with pytest.raises(WindowTooLarge):
        decoded((body, PROTOBUF), (body, PROTOBUF), limits=DecodeLimits(window_bytes=6_000))


@pytest.mark.parametrize("form", BOTH)
def test_a_resource_is_read_once_however_many_scopes_it_has(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = some(1)
    scope = request.resource_logs[0].scope_logs[0]
    for _ in range(50):
        request.resource_logs[0].scope_logs.append(scope)
    made: list[dict[str, Any]] = []
    holder = fields.holder

    def counted(*of: Any, **how: Any) -> Any:
        made.append(how)
        return holder(*of, **how)

    monkeypatch.setattr(fields, "holder", counted)
    assert len(rows((BOTH[form](request), form))) == 51
    assert sum("scope_name" not in how for how in made) == 1


def test_traces_and_logs_share_a_window_and_each_window_gets_its_own() -> None:
    events, logs = samples.written(samples.table(3), "otlp-protobuf"), some(2).SerializeToString()
    batches = [
        samples.raw(body, form)
        for body, form in (
            (logs, PROTOBUF),
            (events, "otlp-protobuf"),
            (as_json(some(4)), JSON),
            (events, "otlp-protobuf"),
        )
    ]
    first, second, third = decode_windows([batches[:2], batches[2:], batches[3:]], DecodeLimits())
    assert (first.counts, second.counts, third.counts) == ([0, 3], [0, 3], [3])
    assert first.logs is not None
    assert second.logs is not None
    assert (first.logs.batch_of.tolist(), second.logs.batch_of.tolist()) == ([0, 0], [0] * 4)
    assert (first.found, second.found, third.found, third.logs) == (5, 7, 3, None)
    assert [first.good_of(0), first.good_of(1)] == [2, 3]
