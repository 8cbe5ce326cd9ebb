"""Named nasties in JSON: one by one, what becomes of each."""

import json

import pytest

from tests.unit import decode_samples as samples
from tests.unit.decode_samples import ACCEPTED_US, KEPT, became, decode, otlp_json, raw

DAY_US = 86_400_000_000


def deep(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + "0" + closing * levels


JSON_VALUES = {
    "a number beyond floats": ("duration_us", "1e999", "bad_field"),
    "an integer of 400 digits": ("duration_us", "1" * 400, "bad_field"),
    "an integer beyond 64 bits": ("duration_us", "9223372036854775808", "bad_field"),
    "a float": ("duration_us", "1.5", "bad_field"),
    "the longest duration there is": ("duration_us", str(2**53 - 1), KEPT),
    "a longer one": ("duration_us", str(2**53), "bad_duration"),
    "NaN": ("duration_us", "NaN", "not_json"),
    "infinity": ("duration_us", "-Infinity", "not_json"),
    "a time of 1970": ("started_at", "0", "bad_time"),
    "a time of 2200": ("started_at", '"2200-01-01T00:00:00Z"', "bad_time"),
    "a time of 9999": ("started_at", '"9999-12-31T23:59:59.999999Z"', "bad_time"),
    "the smallest number as a time": ("started_at", str(-(2**63)), "bad_time"),
    "the last time that is taken": ("started_at", str(ACCEPTED_US + DAY_US), KEPT),
    "a microsecond later": ("started_at", str(ACCEPTED_US + DAY_US + 1), "bad_time"),
    "a day that is none": ("started_at", '"2023-02-30T00:00:00Z"', "bad_time"),
    "an escaped NUL": ("service", '"shop\\u0000"', "nul_character"),
    "a NUL as it is": ("service", '"shop\0"', "not_json"),
    "a lone surrogate": ("service", '"\\ud800"', "not_json"),
    "surrogates the wrong way round": ("service", '"\\udc00\\ud800"', "not_json"),
    "a long service": ("service", json.dumps("x" * 1_025), "bad_service"),
    "a text of a megabyte": ("operation", json.dumps("x" * 2**20), "too_many_rejects"),
    "an id in other digits": ("event_id", json.dumps("\u0661" * 16), "bad_event_id"),
    "NUL among attributes": ("attributes", '{"a":"\\u0000"}', "nul_character"),
    "NUL in a key": ("attributes", '{"\\u0000":1}', "nul_character"),
    "NUL within a list": ("attributes", '{"a":["\\u0000"]}', KEPT),
    "ten thousand attributes": (
        "attributes",
        json.dumps({str(number): number for number in range(10_000)}),
        "bad_attributes",
    ),
    "a key twice": ("attributes", '{"a":1,"a":2}', KEPT),
    "an empty key": ("attributes", '{"":1}', KEPT),
    "values just deep enough": ("attributes", f'{{"a":{deep(100)}}}', KEPT),
    "values too deep": ("attributes", f'{{"a":{deep(101)}}}', "bad_attributes"),
    "objects too deep": (
        "attributes",
        f'{{"a":{deep(101, chr(123) + chr(34) * 2 + ":", "}")}}}',
        "bad_attributes",
    ),
    "values as deep as Python can just read": ("attributes", f'{{"a":{deep(940)}}}', "bad_attributes"),
    "values deeper than Python can read": ("attributes", f'{{"a":{deep(100_000)}}}', "not_json"),
    "an integer of 5,000 digits": ("attributes", f'{{"a":{"1" * 5_000}}}', "bad_field"),
}


@pytest.mark.parametrize(("field", "value", "outcome"), JSON_VALUES.values(), ids=JSON_VALUES.keys())
@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_a_nasty_json_value_costs_its_event_at_most(field: str, value: str, outcome: str, form: str) -> None:
    nasty = json.dumps(samples.one() | {field: "@"}).replace('"@"', value).encode()
    good = json.dumps(samples.one()).encode()
    body = good + b"\n" + nasty if form == "ndjson" else b"[" + good + b"," + nasty + b"]"
    assert became(body, form) == outcome
    if outcome not in ("too_many_rejects", KEPT):
        assert decode(raw(body, form)).counts == [1]


# What is no JSON, with every bracket and quote where it belongs.
NO_JSON = {
    "a lone surrogate": '"\\ud83d"',
    "half of a pair": '["\\ud83d\\u0041"]',
    "an unknown escape": '"\\x41"',
    "a line break in a string": '"a\nb"',
    "Python's words": "[True, None]",
    "no numbers": "[NaN, -Infinity, 01, .5]",
    "a comma too many": '{"a": [1, 2,],}',
    "words without quotes": "{a: b}",
    "deeper than a parser goes": deep(100_000),  # Python 3.11 reads 1,000 of them, 3.13 10,000
}


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON.keys())
@pytest.mark.parametrize("field", ["service", "attributes", "nobody reads this"])
@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_what_is_no_json_costs_its_event_and_no_neighbour(value: str, field: str, form: str) -> None:
    good = json.dumps(samples.one())
    bad = json.dumps(samples.one() | {field: "@"}).replace('"@"', value)
    if form == "ndjson":
        bad = bad.replace("\n", "\t")  # a line break is where the next line begins
    events = [good, bad, good, bad, good]
    body = "\n".join(events) if form == "ndjson" else "[" + ",\n".join(events) + "]"
    decoded = decode(raw(body.encode(), form))
    assert (decoded.counts, decoded.unfit) == ([3], {})
    assert set(samples.reasons(decoded)) <= {"not_json", "bad_field"}  # whichever is seen first
    assert [reject.row for reject in decoded.rejects] == [1, 3]
    kept = bad.encode() if form == "ndjson" else f"[{bad}]".encode()
    assert [reject.data for reject in decoded.rejects] == [kept] * 2


NOT_UTF8 = {"no UTF-8": b"\xff\xfe", "overlong": b"\xc0\x80", "half a surrogate": b"\xed\xa0\x80"}


@pytest.mark.parametrize("wrong", NOT_UTF8.values(), ids=NOT_UTF8.keys())
@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_text_that_is_not_utf8_costs_its_event(wrong: bytes, form: str) -> None:
    event = json.dumps(samples.one(service="@")).encode().replace(b"@", wrong)
    assert became(event if form == "ndjson" else b"[" + event + b"]", form) == "bad_utf8"


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe"])
def test_a_byte_order_mark_is_no_json(mark: bytes) -> None:
    assert became(mark + samples.ndjson(samples.one()), "ndjson") == "not_json"


OTLP_JSON = {
    "an integer as text": ("attributes", '[{"key":"a","value":{"intValue":"-9223372036854775808"}}]', KEPT),
    "5,000 digits as text": (
        "attributes",
        f'[{{"key":"a","value":{{"intValue":"{"9" * 5_000}"}}}}]',
        "bad_attributes",
    ),
    "no number": ("attributes", '[{"key":"a","value":{"intValue":"0x10"}}]', "bad_attributes"),
    "not a number": ("attributes", '[{"key":"a","value":{"doubleValue":"NaN"}}]', KEPT),
    "beyond floats": ("attributes", '[{"key":"a","value":{"doubleValue":1e999}}]', "bad_attributes"),
    "no attribute": ("attributes", "[7]", "bad_attributes"),
    "NUL": ("attributes", '[{"key":"a","value":{"stringValue":"\\u0000"}}]', "nul_character"),
    "a key twice": ("attributes", '[{"key":"a"},{"key":"a","value":{"intValue":1}}]', KEPT),
    "a deep list": (
        "attributes",
        '[{"key":"a","value":' + deep(120, '{"arrayValue":{"values":[', "]}}").replace("0", "{}") + "}]",
        "bad_attributes",
    ),
    "a time of 400 digits": ("startTimeUnixNano", f'"{"9" * 400}"', "bad_time"),
    "a negative time": ("startTimeUnixNano", "-1", "bad_time"),
    "the end of time": ("startTimeUnixNano", str(2**64 - 1), "bad_time"),
    "an end before the start": ("endTimeUnixNano", "1", "bad_duration"),
    "a kind beyond 64 bits": ("kind", "9" * 30, KEPT),
    "an unknown status": ("status", '{"code":-7}', KEPT),
    "an id that is no id": ("spanId", '"\\u0000"', "bad_event_id"),
}


@pytest.mark.parametrize(("field", "value", "outcome"), OTLP_JSON.values(), ids=OTLP_JSON.keys())
def test_a_nasty_value_in_otlp_json_costs_its_span_at_most(field: str, value: str, outcome: str) -> None:
    request = json.loads(otlp_json(samples.otlp(samples.table(1))))
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0][field] = "@"
    assert became(json.dumps(request).replace('"@"', value).encode(), "otlp-json") == outcome
