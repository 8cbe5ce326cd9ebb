"""OTLP exports of which not all can be read: each part is judged by itself."""

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tasks.stages.breaker import spoilt_batches
from tests.examples import examples
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import decode, raw, reasons
from tests.unit.otlp_exports import EVENTS, LONE, Path, as_it_is, document, field, put, sent, written

GROUP = ("resourceSpans", 0)
SCOPE = (*GROUP, "scopeSpans", 0)
SPAN = (*SCOPE, "spans", 1)
BROKEN_TEXTS: Final = [LONE, '"\\x41"', '"\t"', "NaN", "-Infinity", "01", "nope", "'a'"]


@pytest.mark.parametrize("text", BROKEN_TEXTS)
@pytest.mark.parametrize(
    "path", [(*SPAN, "name"), (*SPAN, "traceState"), (*SPAN, "events"), (*SPAN, "status", "message")]
)
def test_text_that_is_no_json_costs_its_own_span(path: Path, text: str) -> None:
    decoded = sent(put(document(), path, as_it_is(text)))
    assert (decoded.counts, reasons(decoded)) == ([29], ["not_json"])
    assert decoded.rejects[0].row == 1
    assert text.encode() in decoded.rejects[0].data


@pytest.mark.parametrize("text", BROKEN_TEXTS)
@pytest.mark.parametrize(
    "path",
    [
        ("not read",),
        (*GROUP, "not read"),
        (*GROUP, "resource", "entityRefs"),
        (*SCOPE, "not read"),
    ],
)
def test_text_that_is_no_json_and_not_read_costs_nothing(path: Path, text: str) -> None:
    decoded = sent(put(document(), path, as_it_is(text)))
    assert (decoded.counts, reasons(decoded)) == ([30], [])
    assert None not in decoded.good.attributes.details(np.arange(30))


@pytest.mark.parametrize("text", BROKEN_TEXTS)
@pytest.mark.parametrize(
    "path",
    [
        (*GROUP, "schemaUrl"),
        (*GROUP, "resource", "droppedAttributesCount"),
        (*SCOPE, "scope"),
        (*SCOPE, "scope", "name"),
        (*SCOPE, "schemaUrl"),
    ],
)
def test_text_that_is_no_json_around_spans_costs_those_spans(path: Path, text: str) -> None:
    decoded = sent(put(document(), path, as_it_is(text)))
    assert (decoded.counts, reasons(decoded)) == ([27], ["bad_details"] * 3)


@pytest.mark.parametrize("text", BROKEN_TEXTS)
def test_text_that_is_no_json_in_a_resources_attribute_costs_that_groups_spans(text: str) -> None:
    export = document()
    export["resourceSpans"][0]["resource"]["attributes"].append({"key": "a", "value": as_it_is(text)})
    decoded = sent(export)
    assert (decoded.counts, reasons(decoded)) == ([27], ["bad_attributes"] * 3)


def test_half_an_emoji_in_every_export_opens_no_breaker() -> None:
    batches = [raw(written(put(document(), (*SPAN, "name"), as_it_is(LONE))), "otlp-json")] * 30
    decoded = decode(*batches)
    assert decoded.counts == [29] * 30
    assert spoilt_batches(decoded) == {}


WRONG_TYPES: Final = [5, "text", True, None, {"spans": 5}, {"scopeSpans": 5}, [[]]]


@pytest.mark.parametrize("value", WRONG_TYPES)
def test_a_group_of_a_wrong_type_costs_itself(value: Any) -> None:
    export = document()
    export["resourceSpans"][3] = [value] if isinstance(value, dict) else value
    decoded = sent(export)
    assert (decoded.counts, reasons(decoded)) == ([27], ["bad_group"])
    assert decoded.rejects[0].row == 9
    assert decoded.rejects[0].detail.startswith("resourceSpans:")


@pytest.mark.parametrize(
    "changes",
    [
        {"resource": 5},
        {"resource": {"attributes": 5}},
        {"scopeSpans": 5},
        {"scopeSpans": [5]},
        {"scopeSpans": [{"spans": 5}]},
        {"scopeSpans": None, "librarySpans": [1]},
        {"scopeSpans": [{"spannen": [1]}]},
    ],
)
def test_a_group_with_a_wrong_member_costs_itself(changes: dict[str, Any]) -> None:
    export = document()
    export["resourceSpans"][3] |= changes
    decoded = sent(export)
    assert (decoded.counts, reasons(decoded)) == ([27], ["bad_group"])


@pytest.mark.parametrize("value", [5, "text", None, [], {"name": 5}])
def test_a_span_of_a_wrong_type_costs_itself(value: Any) -> None:
    decoded = sent(put(document(), SPAN, value))
    assert (decoded.counts, reasons(decoded), decoded.rejects[0].row) == ([29], ["bad_field"], 1)


NOT_A_MESSAGE: Final = b"\xff\xff\xff"


@pytest.mark.parametrize(
    ("place", "kept", "reason"),
    [
        ("group", 27, "bad_group"),
        ("resource", 27, "bad_group"),
        ("scope", 27, "bad_group"),
        ("span", 29, "bad_field"),
        ("another field of a group", 27, "bad_group"),
    ],
)
def test_a_part_in_protobuf_that_is_no_message_costs_itself(place: str, kept: int, reason: str) -> None:
    groups = [group.SerializeToString() for group in samples.otlp(EVENTS).resource_spans]
    third = samples.otlp(EVENTS).resource_spans[3]
    spans = [span.SerializeToString() for span in third.scope_spans[0].spans]
    resource = field(1, third.resource.SerializeToString())
    groups[3] = {
        "group": NOT_A_MESSAGE,
        "resource": field(1, NOT_A_MESSAGE) + field(2, third.scope_spans[0].SerializeToString()),
        "scope": resource + field(2, NOT_A_MESSAGE),
        "span": resource + field(2, b"".join(field(2, one) for one in (spans[0], NOT_A_MESSAGE, spans[2]))),
        "another field of a group": resource + field(9, b"spans?"),
    }[place]
    decoded = sent(b"".join(field(1, group) for group in groups), "otlp-protobuf")
    assert (decoded.counts, reasons(decoded)) == ([kept], [reason])
    assert decoded.rejects[0].row == (10 if place == "span" else 9)


TOKENS: Final = st.sampled_from(
    [
        '"a"',
        '"\\""',
        LONE,
        "[1]",
        '{"a":[{}]}',
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "1",
        "tru",
        " ",
        "\\",
        "é",
        '"',
        "null",
    ]
)


@examples(100)
@given(st.lists(TOKENS, max_size=9))
def test_whatever_stands_in_a_spans_place_every_reject_fails_again(tokens: list[str]) -> None:
    sent(put(document(12), SPAN, as_it_is("".join(tokens))))


PIECES: Final = st.recursive(
    st.sampled_from(["1", "nope", LONE, '"]}"', "", "-", '"\\""', "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: "[" + ",".join(parts) + "]")
        | st.lists(inner, max_size=3).map(lambda parts: "{" + " ".join(parts) + "}")
    ),
    max_leaves=12,
)


@examples(80)
@given(PIECES)
def test_whatever_has_its_brackets_and_quotes_closed_costs_one_span(text: str) -> None:
    decoded = sent(put(document(12), SPAN, as_it_is(text)))
    assert decoded.counts == [11]
    assert len(decoded.rejects) == bool(text)
