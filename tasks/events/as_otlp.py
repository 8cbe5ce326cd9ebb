"""Events given back as an OTLP trace export in JSON, which says field by field what their agents sent."""

from typing import Any, Final

import msgspec
import pyarrow as pa

from tasks.events.details import DETAILS
from tasks.events.schema import EVENTS

Json = dict[str, Any]
KINDS: Final = ("internal", "server", "client", "producer", "consumer")  # OTLP counts them from 1
ERROR: Final = 2  # Status.StatusCode
_json = msgspec.json.Decoder()


def otlp_export(table: pa.Table) -> Json:
    """An ExportTraceServiceRequest as JSON has it, of a table of WHOLE: a group for each resource, in it one
    for each scope, both in the order of their first event, with what has its default value left out.

    An event that did not come by OTLP becomes a span of its columns: its service is its resource, its
    attributes and its user are text. Raises msgspec.MsgspecError for JSON that is not what a column of
    DETAILS holds.
    """
    groups: dict[str, Json] = {}
    scopes: dict[tuple[str, str], Json] = {}
    for event in _rows(table):
        resource = _json.decode(event["resource"]) if event["resource"] else _service(event)
        of_group = event["resource"] or f"service {event['service']}"
        if of_group not in groups:
            url = _taken(resource, "schemaUrl")
            groups[of_group] = _filled({"resource": resource, "scopeSpans": [], **url})
        of_scope = (of_group, event["scope"] or "{}")
        if of_scope not in scopes:
            scope = _json.decode(of_scope[1])
            url = _taken(scope, "schemaUrl")
            scopes[of_scope] = _filled({"scope": scope, "spans": [], **url})
            groups[of_group]["scopeSpans"].append(scopes[of_scope])
        scopes[of_scope]["spans"].append(_span(event))
    return {"resourceSpans": list(groups.values())}


def _rows(table: pa.Table) -> list[Json]:
    times = table.column("started_at").cast(pa.int64())
    plain = table.set_column(table.column_names.index("started_at"), "started_at", times)
    rows: list[Json] = plain.select([*EVENTS.names, *DETAILS.names]).to_pylist()
    return rows


def _span(event: Json) -> Json:
    rest = _rest(event)
    nameless = _taken(rest, "nameless")
    code = rest.pop("statusCode", 0)
    return _filled(
        {
            "traceId": event["trace_id"].hex(),
            "spanId": event["event_id"].hex(),
            "traceState": event["trace_state"],
            "parentSpanId": event["parent_id"] and event["parent_id"].hex(),
            "flags": event["flags"],
            "name": None if nameless else event["operation"],
            "kind": KINDS.index(event["kind"]) + 1 if event["kind"] in KINDS else 0,
            "status": _filled({"message": event["status_message"], "code": code}),
            "events": _json.decode(event["span_events"] or "[]"),
            "links": _json.decode(event["links"] or "[]"),
            **rest,
        }
    )


def _rest(event: Json) -> Json:
    """What `SpanRest` says. Without times, as of most events that did not come by OTLP, its attributes are
    but some of the event's, whose columns say the rest.
    """
    said: Json = _json.decode(event["span"]) if event["span"] else {}
    if "startTimeUnixNano" in said:
        return said
    pairs = {key: {"stringValue": value} for key, value in event["attributes"] or ()}
    if event["user_id"] is not None:
        pairs.setdefault("user.id", {"stringValue": event["user_id"]})
    pairs |= {pair.get("key", ""): pair["value"] for pair in said.pop("attributes", ())}
    return {
        "startTimeUnixNano": str(event["started_at"] * 1_000),
        "endTimeUnixNano": str((event["started_at"] + event["duration_us"]) * 1_000),
        "attributes": [{"key": key, "value": value} for key, value in pairs.items()],
        "statusCode": ERROR if event["status"] == "error" else 0,
        **said,
    }


def _service(event: Json) -> Json:
    return {"attributes": [{"key": "service.name", "value": {"stringValue": event["service"]}}]}


def _taken(given: Json, name: str) -> Json:
    """A member taken out of an object, as an object of its own; an empty one where it isn't there."""
    return {name: given.pop(name)} if name in given else {}


def _filled(given: Json) -> Json:
    """An object without the members that have their default value; lists of scopes and spans fill later."""
    return {name: value for name, value in given.items() if value or name in ("scopeSpans", "spans")}
