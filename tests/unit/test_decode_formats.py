"""The same events come out of every format; a format's own liberties are taken."""

import json

import pyarrow as pa
import pytest

from tasks.decoders import FORMATS
from tasks.events import EVENTS
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import decode, ndjson, one, raw, reasons


@pytest.mark.parametrize("form", samples.FORMATS)
def test_every_format_gives_the_events_that_were_written(form: str) -> None:
    events = samples.table(200)
    decoded = decode(raw(samples.written(events, form), form))
    assert (decoded.counts, decoded.rejects, decoded.unfit) == ([200], [], {})
    assert decoded.events.schema.equals(EVENTS)
    assert samples.same(decoded.events, events)


def test_all_formats_share_a_window_and_keep_their_batches_apart() -> None:
    tables = [samples.table(10 + number, seed=number) for number in range(len(samples.FORMATS))]
    batches = [
        raw(samples.written(one, form), form) for one, form in zip(tables, samples.FORMATS, strict=True)
    ]
    decoded = decode(*batches)
    assert decoded.counts == [10, 11, 12, 13, 14]
    assert samples.same(decoded.events, pa.concat_tables(tables))
    assert {*samples.FORMATS, *samples.LOG_FORMATS} == set(FORMATS)


@pytest.mark.parametrize(
    "time",
    [
        "2023-01-29T08:42:09.123456Z",
        "2023-01-29T08:42:09.123456789Z",
        "2023-01-29t08:42:09.123456z",
        "2023-01-29 09:42:09.123456+01:00",
        "2023-01-29T08:42:09.123456",
        1_674_981_729_123_456,
    ],
)
def test_a_time_is_rfc_3339_or_microseconds_and_utc_without_a_zone(time: str | int) -> None:
    for beside in ("2023-01-29T08:42:10Z", 1_674_981_730_000_000):
        decoded = decode(raw(ndjson(one(started_at=time), one(started_at=beside))))
        assert decoded.events["started_at"].cast(pa.int64()).to_pylist() == [
            1_674_981_729_123_456,
            1_674_981_730_000_000,
        ]


@pytest.mark.parametrize("form", ["ndjson", "json"])
@pytest.mark.parametrize(
    "time", ["2016-12-31T23:59:60.25Z", "2017-01-01t05:29:60.25+05:30", "2016-12-31 23:59:60.25"]
)
def test_a_leap_second_is_the_second_after_it(time: str, form: str) -> None:
    sent = [one(started_at=time), one(started_at="2016-12-31T23:59:59Z")]
    body = (
        b"[" + b",".join(json.dumps(each).encode() for each in sent) + b"]"
        if form == "json"
        else ndjson(*sent)
    )
    decoded = decode(raw(body, form))
    assert decoded.events["started_at"].cast(pa.int64()).to_pylist() == [
        1_483_228_800_250_000,
        1_483_228_799_000_000,
    ]


@pytest.mark.parametrize(
    "time",
    [
        "2016-12-31T12:59:60Z",
        "2016-12-31T23:58:60Z",
        "2016-12-31T23:59:61Z",
        "2016-12-31T23:59:600Z",
        "2016-12-31T23:59:60+01:00",
    ],
)
def test_a_sixtieth_second_that_ends_no_day_is_no_time(time: str) -> None:
    assert reasons(decode(raw(ndjson(one(), one(started_at=time))))) == ["bad_time"]


@pytest.mark.parametrize(
    "time", ["yesterday", "2023-13-01T00:00:00Z", "0001-01-01T00:00:00.1+23:00x", "", "12"]
)
def test_a_text_that_is_no_time_rejects_its_event_and_keeps_the_text(time: str) -> None:
    decoded = decode(raw(ndjson(one(), one(started_at=time), one())))
    assert (decoded.counts, reasons(decoded)) == ([2], ["bad_time"])
    assert json.loads(decoded.rejects[0].data)["started_at"] == time


def test_attributes_that_are_not_text_become_their_json_text_and_null_none() -> None:
    sent = {
        "text": "a",
        "int": 3,
        "float": 1.5,
        "bool": True,
        "null": None,
        "list": [1, {"a": None}],
        "big": 10**30,
    }
    decoded = decode(raw(ndjson(one(attributes=sent))))
    assert dict(decoded.events["attributes"][0].as_py()) == {
        "text": "a",
        "int": "3",
        "float": "1.5",
        "bool": "true",
        "list": '[1,{"a":null}]',
        "big": "1" + "0" * 30,
    }


def test_only_the_line_that_cannot_be_read_is_rejected_with_its_bytes_and_its_number() -> None:
    decoded = decode(
        raw(ndjson(one(), b"{nope", b"", one(), b'{"event_id": 3}', b'{"event_id":"\xff"}', one()))
    )
    assert decoded.counts == [3]
    assert [(reject.row, reject.reason, reject.data) for reject in decoded.rejects] == [
        (1, "not_json", b"{nope"),
        (4, "bad_field", b'{"event_id": 3}'),
        (5, "bad_utf8", b'{"event_id":"\xff"}'),
    ]


def test_two_objects_on_one_line_are_not_taken_for_two_lines() -> None:
    both = ndjson(one()).rstrip() + ndjson(one())
    assert reasons(decode(raw(both))) == ["not_json"]


def test_an_object_over_several_lines_is_no_ndjson() -> None:
    assert decode(raw(json.dumps(one(), indent=1).encode())).counts == [0]


def test_only_the_element_of_an_array_that_is_no_event_is_rejected() -> None:
    bad = {"event_id": "x", "more": [1]}
    body = json.dumps([one(), bad, one()], indent=1).encode()
    decoded = decode(raw(body, "json"))
    assert (decoded.counts, reasons(decoded), decoded.rejects[0].row) == ([2], ["bad_field"], 1)
    assert json.loads(decoded.rejects[0].data) == [bad]


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"3", b"[1", b'["', b"[}]", b"\xff", b"[" * 100_000])
def test_what_is_no_array_is_malformed(body: bytes) -> None:
    assert decode(raw(body, "json")).unfit[0].reason == "malformed"


def test_where_nothing_is_between_two_commas_there_is_no_element() -> None:
    event = json.dumps(one()).encode()
    decoded = decode(raw(b"[" + event + b", ," + event + b",]", "json"))
    assert (decoded.counts, decoded.rejects, decoded.unfit) == ([2], [], {})


@pytest.mark.parametrize("width", [0, 1, 15, 17, 64])
def test_an_id_of_another_length_rejects_its_event_and_keeps_the_id(width: int) -> None:
    decoded = decode(raw(ndjson(one(), one(event_id="a" * width), one())))
    assert (decoded.counts, reasons(decoded)) == ([2], ["bad_event_id"])
    assert decoded.rejects[0].row == 1
    if width:
        assert json.loads(decoded.rejects[0].data)["event_id"] == "a" * width


@pytest.mark.parametrize("text", ["0123456789abcdeg", "0123456789abcd e", "é" * 8, "0123456789abcde\n"])
def test_an_id_that_is_not_hexadecimal_rejects_its_event(text: str) -> None:
    decoded = decode(raw(ndjson(one(event_id=text), one())))
    assert (decoded.counts, reasons(decoded)) == ([1], ["bad_event_id"])


def test_an_empty_parent_id_and_one_of_zeros_say_that_there_is_none() -> None:
    decoded = decode(raw(ndjson(one(parent_id=""), one(parent_id="0" * 16), one(parent_id=None))))
    assert decoded.events["parent_id"].to_pylist() == [None, None, None]


def test_a_body_may_be_a_view_of_other_bytes() -> None:
    body = samples.written(samples.table(5), "arrow")
    assert decode(raw(memoryview(b"xx" + body)[2:], "arrow")).counts == [5]


def test_an_unknown_format_is_unfit() -> None:
    assert decode(raw(b"", "csv")).unfit[0].reason == "unknown_format"


def test_no_batches_give_no_events() -> None:
    decoded = decode()
    assert (decoded.events.num_rows, decoded.counts) == (0, [])
    assert decode(raw(b"")).counts == [0]
