"""OTLP exports under other names than OTLP's own: what peers read is read, and nothing goes unnoticed."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.unit import decode_samples as samples
from tests.unit.decode_samples import decode, raw
from tests.unit.otlp_exports import EVENTS, document, field, sent, written

CAPITAL: Final = re.compile("[A-Z]")
LIBRARY: Final = ("instrumentationLibrarySpans", "instrumentation_library_spans")


def snake(value: Any) -> Any:
    """The same document with OTLP's original field names."""
    if isinstance(value, dict):
        return {CAPITAL.sub(r"_\g<0>", key).lower(): snake(one) for key, one in value.items()}
    return [snake(one) for one in value] if isinstance(value, list) else value


def renamed(export: Any, name: str) -> Any:
    for group in export["resourceSpans"]:
        group[name] = group.pop("scopeSpans")
    return export


def in_field_1000() -> bytes:
    groups = []
    for group in samples.otlp(EVENTS).resource_spans:
        scopes = [field(1000, scope.SerializeToString()) for scope in group.scope_spans]
        groups.append(field(1, field(1, group.resource.SerializeToString()) + b"".join(scopes)))
    return b"".join(groups)


OTHER_NAMES: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "library spans": ("otlp-json", lambda: written(renamed(document(), LIBRARY[0]))),
    "library spans in snake case": ("otlp-json", lambda: written(renamed(document(), LIBRARY[1]))),
    "all in snake case": ("otlp-json", lambda: written(snake(document()))),
    "groups in snake case": ("otlp-json", lambda: written({"resource_spans": document()["resourceSpans"]})),
    "scopes in snake case": ("otlp-json", lambda: written(renamed(document(), "scope_spans"))),
    "library spans in protobuf": ("otlp-protobuf", in_field_1000),
}


@pytest.mark.parametrize(("form", "body"), OTHER_NAMES.values(), ids=OTHER_NAMES.keys())
def test_names_that_peers_read_are_read(form: str, body: Callable[[], bytes]) -> None:
    decoded = decode(raw(body(), form))
    assert (decoded.counts, decoded.rejects, decoded.unfit) == ([30], [], {})
    assert samples.same(decoded.events, EVENTS)


def test_values_in_snake_case_are_read_at_every_depth() -> None:
    export = document(1)
    spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
    inner = [{"intValue": "1"}, {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}}]
    spans[0]["attributes"] = [{"key": "a", "value": {"arrayValue": {"values": inner}}}]
    [attributes] = decode(raw(written(snake(export)), "otlp-json")).events["attributes"].to_pylist()
    assert attributes == [("a", '[1,{"k":true}]')]


def test_what_is_published_under_both_names_counts_once() -> None:
    export = document()
    for group in export["resourceSpans"]:
        group[LIBRARY[0]] = group["scopeSpans"]
    assert sent(export).counts == [30]
    both = field(1, field(2, field(2, b"")) + field(1000, field(2, b"") * 2))
    assert len(sent(both, "otlp-protobuf").rejects) == 1


NOT_TRACES: Final = {
    "logs": ("otlp-json", b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{}}]}]}]}'),
    "metrics": ("otlp-json", b'{"resourceMetrics":[{"scopeMetrics":[{}]}]}'),
    "an event": ("otlp-json", json.dumps(samples.one()).encode()),
    "another field in protobuf": ("otlp-protobuf", field(2, b"abc")),
    "groups of a wrong type in protobuf": ("otlp-protobuf", b"\x08\x05"),
}


@pytest.mark.parametrize(("form", "body"), NOT_TRACES.values(), ids=NOT_TRACES.keys())
def test_what_is_no_trace_export_is_quarantined_as_not_understood(form: str, body: bytes) -> None:
    decoded = decode(raw(body, form))
    assert (decoded.counts, decoded.unfit[0].reason) == ([0], "not_understood")


EMPTY: Final = {
    "nothing in protobuf": ("otlp-protobuf", b""),
    "an empty group in protobuf": ("otlp-protobuf", field(1, field(1, b"") + field(3, b"url"))),
    "an empty scope in protobuf": ("otlp-protobuf", field(1, field(2, field(1, b"") + field(3, b"url")))),
    "nothing": ("otlp-json", b"{}"),
    "no groups": ("otlp-json", b'{"resourceSpans":[]}'),
    "null for groups": ("otlp-json", b'{"resourceSpans":null}'),
    "an empty group": ("otlp-json", b'{"resourceSpans":[{}]}'),
    "no scopes": (
        "otlp-json",
        b'{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[]}]}',
    ),
    "no spans": ("otlp-json", b'{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"x"},"spans":[]}]}]}'),
    "other fields that are empty": ("otlp-json", b'{"resourceSpans":[],"resourceLogs":[]}'),
}


@pytest.mark.parametrize(("form", "body"), EMPTY.values(), ids=EMPTY.keys())
def test_an_empty_export_is_a_success(form: str, body: bytes) -> None:
    decoded = decode(raw(body, form))
    assert (decoded.counts, decoded.rejects, decoded.unfit) == ([0], [], {})
