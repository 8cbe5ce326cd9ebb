"""What the texts behind OTLP say of its odd cases: docs/formats.md has a row for each, and a test here."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from tasks.decoders import DecodedBatches
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import START_US, attribute, decode, raw, reasons
from tests.unit.otlp_exports import document, sent

BOTH = pytest.mark.parametrize("form", ["otlp-protobuf", "otlp-json"])
FORMATS: Final = Path(__file__).resolve().parents[2] / "docs" / "formats.md"


def exported(request: Any, form: str) -> DecodedBatches:
    return sent(request.SerializeToString() if form == "otlp-protobuf" else samples.otlp_json(request), form)


def with_span(**fields: Any) -> DecodedBatches:
    """What becomes of one span in JSON with other fields; a value in `@` stands as it is."""
    export = document(1)
    export["resourceSpans"][0]["scopeSpans"][0]["spans"][0] |= fields
    return sent(export)


def value_of(value: dict[str, Any]) -> str:
    """An attribute's text, or the reason for which its span is rejected."""
    decoded = with_span(attributes=[{"key": "k", "value": value}])
    if decoded.rejects:
        return reasons(decoded)[0]
    return str(dict(decoded.events["attributes"].to_pylist()[0])["k"])


def test_each_row_of_the_docs_has_a_test_of_its_name() -> None:
    table = FORMATS.read_text().split("| case | sent |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| ([a-z -]+) \|", table, re.MULTILINE)
    assert len(rows) > 8
    tests = [name.removeprefix("test_").replace("_", " ") for name in globals()]
    assert not [row for row in rows if not any(name.startswith(row) for name in tests)]


@BOTH
def test_nameless_span_has_an_unknown_operation(form: str) -> None:
    request = samples.otlp(samples.table(3))
    request.resource_spans[1].scope_spans[0].spans[0].name = ""
    decoded = exported(request, form)
    assert decoded.counts == [3]
    assert decoded.events["operation"].to_pylist()[1] == "unknown_operation"


@BOTH
def test_keyless_attribute_has_the_empty_key(form: str) -> None:
    request = samples.otlp(samples.table(1))
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add().value.string_value = "v"
    [attributes] = exported(request, form).events["attributes"].to_pylist()
    assert dict(attributes)[""] == "v"


def test_null_is_as_good_as_nothing() -> None:
    nothing = with_span(parentSpanId=None, kind=None, status=None, traceState=None)
    assert (nothing.counts, nothing.events["parent_id"].to_pylist()) == ([1], [None])
    assert with_span(
        attributes=[{"key": None, "value": None}, {"key": "k", "value": {"intValue": None}}]
    ).counts == [1]
    assert with_span(attributes=None, name=None).counts == [1]


WHOLE: Final = ["200", '"200"', "2e2", '"2e2"', '"2E+2"', "200.0", '"200.0"', "2000e-1", '"0200"']
NO_NUMBER: Final = ['""', '" 7"', '"+7"', '"1_0"', '"0x10"', '"٣"', '"-"', '"NaN"']
NOT_WHOLE: Final = [*NO_NUMBER, '"12.5"', "12.5", '"1e-1"', '"1e999"']
FAR: Final = ['"1e99999999999999999999"', f'"{"9" * 5_000}"', "9" * 400]
BEYOND: Final = [*FAR, str(2**63), f'"{-(2**63) - 1}"', "1e19"]


@pytest.mark.parametrize("spelling", WHOLE)
def test_whole_numbers_are_taken_in_each_spelling(spelling: str) -> None:
    assert value_of({"intValue": f"@{spelling}@"}) == "200"
    times = {"startTimeUnixNano": str(START_US * 1_000), "endTimeUnixNano": str((START_US + 200) * 1_000)}
    assert with_span(**times).events["duration_us"].to_pylist() == [200]
    exponent = {"startTimeUnixNano": f"@{START_US}e3@", "endTimeUnixNano": f'@"{START_US + 200}.0e3"@'}
    assert with_span(**exponent).events["duration_us"].to_pylist() == [200]


@pytest.mark.parametrize("spelling", NOT_WHOLE + BEYOND)
def test_no_whole_numbers_are_no_attributes(spelling: str) -> None:
    assert value_of({"intValue": f"@{spelling}@"}) == "bad_attributes"


@pytest.mark.parametrize("spelling", [*NOT_WHOLE, '"-1"', str(2**64)])
def test_no_whole_numbers_are_no_times(spelling: str) -> None:
    assert reasons(with_span(startTimeUnixNano=f"@{spelling}@")) == ["bad_time"]
    assert reasons(with_span(endTimeUnixNano=f"@{spelling}@")) == ["bad_duration"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@BOTH
def test_no_finite_number_keeps_its_name_in_arrays_too(value: str, form: str) -> None:
    request = samples.otlp(samples.table(1))
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="k").value.double_value = float(value)
    listed = span.attributes.add(key="list").value.array_value.values
    listed.add().double_value = float(value)
    listed.add().kvlist_value.values.add(key="k").value.double_value = float(value)
    attributes = dict(exported(request, form).events["attributes"].to_pylist()[0])
    assert attributes["k"] == value
    assert json.loads(attributes["list"]) == [value, {"k": value}]


@pytest.mark.parametrize("value", ['"nan"', '"inf"', '"-inf"', '""', '" 1"', "1e999", '"1e999"', "9" * 400])
def test_no_double_is_no_attribute(value: str) -> None:
    assert value_of({"doubleValue": f"@{value}@"}) == "bad_attributes"


@pytest.mark.parametrize("kind", [2, "2", "SPAN_KIND_SERVER"])
def test_enum_is_taken_as_number_and_by_its_name(kind: int | str) -> None:
    assert with_span(kind=kind).events["kind"].to_pylist() == ["server"]
    code = {2: 2, "2": "2"}.get(kind, "STATUS_CODE_ERROR")
    assert with_span(status={"code": code}).events["status"].to_pylist() == ["error"]


@BOTH
def test_leap_second_is_the_second_after_it(form: str) -> None:
    """2016 ended with 23:59:60, of which Unix time makes the first second of 2017."""
    request = samples.otlp(samples.table(1))
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.start_time_unix_nano, span.end_time_unix_nano = 1_483_228_800_500_000_000, 1_483_228_801_000_000_000
    [event] = exported(request, form).events.to_pylist()
    assert event["started_at"].isoformat() == "2017-01-01T00:00:00.500000+00:00"
    assert event["duration_us"] == 500_000


@BOTH
@pytest.mark.parametrize(
    ("own", "lent", "shared", "fits"),
    [(128, 0, 0, True), (128, 128, 0, True), (128, 128, 50, True), (129, 0, 0, False), (1, 129, 0, False)],
)
def test_many_attributes_of_a_resource_do_not_count_as_the_spans_own(
    form: str, own: int, lent: int, shared: int, fits: bool
) -> None:
    request = samples.otlp(samples.table(12))
    group = request.resource_spans[0]
    span = group.scope_spans[0].spans[0]
    del span.attributes[:]
    for number in range(own):
        attribute(span, f"own.{number}", "v")
    for number in range(lent):
        attribute(group.resource, f"own.{number}" if number < shared else f"resource.{number}", "v")
    decoded = exported(request, form)
    rejected = 0 if fits else (2 if lent > 128 else 1)  # the group has two spans
    assert (decoded.counts, reasons(decoded)) == ([12 - rejected], ["bad_attributes"] * rejected)
    if fits:
        assert len(decoded.events["attributes"][0].as_py()) == own + lent - shared


def test_many_attributes_are_judged_apart_in_each_batch_of_a_window() -> None:
    full = samples.otlp(samples.table(1))
    for number in range(120):
        attribute(full.resource_spans[0].resource, f"resource.{number}", "v")
        attribute(full.resource_spans[0].scope_spans[0].spans[0], f"own.{number}", "v")
    much = samples.one(attributes={str(number): "v" for number in range(240)})
    line = raw(samples.ndjson(much, samples.one()))
    decoded = decode(line, raw(full.SerializeToString(), "otlp-protobuf"), line)
    assert decoded.counts == [1, 1, 1]
    assert [reject.batch for reject in decoded.rejects] == [0, 2]
