"""Details of spans: they come back from columns as they were, and what a pipeline hides is hidden in them."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from pipelines import parse
from tasks.events import (
    DETAILS,
    AnyValue,
    ArrayValue,
    EventTable,
    KeyValue,
    KeyValueList,
    LateAttributes,
    MapAttributes,
    SpanDetails,
    detail_columns,
    details_of,
)
from tasks.events.details import SpanEvent, SpanLink, SpanResource, SpanRest, SpanScope
from tasks.handover import DecodedWindow, peek
from tasks.processors import process
from tests.unit.decode_samples import table
from tests.unit.test_handover import HEADER

TOKEN = AnyValue(string_value="Bearer abcdefgh0123")
SHOP = SpanResource(attributes=[KeyValue("service.name", AnyValue(string_value="shop"))], schema_url="r/1")
SECRETS = KeyValueList([KeyValue("password", AnyValue(string_value="p1")), KeyValue("n", AnyValue())])
WHOLE_SPAN = SpanDetails(
    trace_state="a=1",
    flags=257,
    resource=SHOP,
    scope=SpanScope("lib", "1.2", [KeyValue("api.key", AnyValue(string_value="k1"))], 2, "s/1"),
    span=SpanRest(
        "1700000000000000123",
        "1700000000000000999",
        [
            KeyValue("n", AnyValue(int_value="200")),
            KeyValue("raw", AnyValue(bytes_value="AAE=")),
            KeyValue("map", AnyValue(kvlist_value=SECRETS)),
        ],
        status_code=1,
        dropped_links_count=4,
    ),
    events=[
        SpanEvent(
            "1700000000000000500",
            "exception",
            [KeyValue("exception.message", TOKEN)],
        )
    ],
    links=[
        SpanLink(
            "00" * 16,
            "11" * 8,
            "b=2",
            [
                KeyValue(
                    "all", AnyValue(array_value=ArrayValue([AnyValue(string_value="Bearer abcdefgh0123")]))
                )
            ],
        )
    ],
)
PLAIN = SpanDetails(links=[SpanLink(trace_id="ab")])


def detailed(*details: SpanDetails | None) -> EventTable:
    whole = EventTable.of(table(len(details)))
    source = MapAttributes(whole.attributes.maps(), details)
    return EventTable(whole.columns, LateAttributes((source,)))


def kept(details: Sequence[SpanDetails | None], *steps: dict[str, Any]) -> list[SpanDetails | None] | None:
    pipeline = parse(json.dumps({"steps": [*steps, {"step": "keep", "percent": 100}]}))
    return details_of(process(detailed(*details), pipeline).events)


def test_details_come_back_from_columns_as_they_were() -> None:
    given = [WHOLE_SPAN, None, PLAIN, SpanDetails(span=SpanRest(nameless=True))]
    columns = detail_columns(given)
    assert columns.schema == DETAILS
    assert details_of(columns) == given
    assert details_of(detail_columns([None, None])) is None


def test_details_stay_with_their_events_through_filters_slices_and_concatenation() -> None:
    first, second = detailed(WHOLE_SPAN, None), detailed(PLAIN)
    joined = EventTable.concat([first.slice(1, 1), second, first.slice(0, 1)])
    assert joined.attributes.details(np.array([2, 1, 0, 2])) == [WHOLE_SPAN, PLAIN, None, WHOLE_SPAN]
    mask = joined.attributes.exceptional()
    assert mask is not None
    assert mask.tolist() == [False, False, True]


def test_they_travel_to_a_stage_that_runs_elsewhere() -> None:
    window = DecodedWindow(HEADER, detailed(None, WHOLE_SPAN))
    there = DecodedWindow.of(*peek(window.packed()))
    assert there.events.attributes.details(np.arange(2)) == [None, WHOLE_SPAN]


def test_without_a_step_that_changes_them_they_are_kept_as_they_came() -> None:
    assert kept([WHOLE_SPAN, None, PLAIN]) == [WHOLE_SPAN, None, PLAIN]


def test_secrets_are_hidden_at_any_depth() -> None:
    found = kept([WHOLE_SPAN, None], {"step": "redact"})
    assert found is not None
    text = json.dumps(msgspec.to_builtins(found))
    assert text.count("[redacted]") == 4
    assert "abcdefgh" not in text
    assert "p1" not in text
    assert "k1" not in text
    assert found[1] is None
    assert found[0] is not None
    assert found[0].resource == SHOP
    assert found[0].span is not None
    assert found[0].span.attributes[:2] == WHOLE_SPAN.span.attributes[:2]  # type: ignore[union-attr]


def test_attributes_are_renamed_before_they_are_judged_by_their_names() -> None:
    rename = {"step": "rename", "attributes": {"raw": "secret", "service.name": "password"}}
    (found,) = kept([WHOLE_SPAN], rename, {"step": "redact"}) or [None]
    assert found is not None
    assert found.span is not None
    assert found.resource is not None
    hidden = AnyValue(string_value="[redacted]")
    assert found.span.attributes[1] == KeyValue("secret", hidden)
    assert found.resource.attributes == [KeyValue("password", hidden)]


def test_what_enrich_sets_is_among_the_attributes_of_the_span() -> None:
    (found,) = kept([WHOLE_SPAN], {"step": "enrich", "attributes": {"n": "many", "new": "1"}}) or [None]
    assert found is not None
    assert found.span is not None
    assert [pair.key for pair in found.span.attributes] == ["raw", "map", "n", "new"]
    assert kept([PLAIN], {"step": "enrich", "attributes": {"n": "many"}}) == [PLAIN]


def test_json_that_is_none_of_a_columns_is_refused() -> None:
    columns = detail_columns([WHOLE_SPAN])
    wrong = columns.set_column(DETAILS.get_field_index("links"), DETAILS.field("links"), [["{}"]])
    with pytest.raises(msgspec.ValidationError):
        details_of(wrong)
