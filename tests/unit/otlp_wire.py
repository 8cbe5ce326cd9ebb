"""OTLP traces in protobuf as SDKs send them, and as nobody should."""

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit import decode_samples as samples
from tests.unit.decode_samples import varint


def sdk() -> ExportTraceServiceRequest:
    """All that OpenTelemetry's SDKs send, in two resources."""
    made = samples.otlp(samples.table(12))
    del made.resource_spans[2:]
    for group in made.resource_spans:
        group.schema_url = group.scope_spans[0].schema_url = "https://opentelemetry.io/schemas/1.30.0"
        group.resource.dropped_attributes_count = 300
        group.resource.entity_refs.add(type="service", id_keys=["service.name"])
        arguments = group.resource.attributes.add(key="process.command_args").value.array_value
        for text in ("python", '-c "\n"', "é"):
            arguments.values.add().string_value = text
        group.scope_spans[0].scope.name = "a.scope"
        for span in group.scope_spans[0].spans:
            span.trace_state, span.flags = "a=b", 0x301
            span.dropped_attributes_count = span.dropped_events_count = span.dropped_links_count = 2**31
            span.links.add(trace_id=bytes(16), span_id=bytes(8))
            span.links.add(trace_id=bytes(16), span_id=bytes(8))
            event = span.events.add(name="exception")
            event.attributes.add(key="exception.message").value.string_value = "broke"
            span.events.add(name="again")
            for key, field, value in VALUES:
                setattr(span.attributes.add(key=key).value, field, value)
            inner = span.attributes.add(key="object").value.kvlist_value.values.add(key="k").value
            inner.array_value.values.add().double_value = 0.1
            inner.array_value.values.add()
            span.attributes.add(key="nothing")
            span.attributes.add(key="a").value.string_value = "the last"
            span.status.message = "why"
    return made


VALUES: list[tuple[str, str, Any]] = [
    ("a", "string_value", "ünï"),
    ("user.id", "int_value", -(2**63)),
    ("int", "int_value", 2**63 - 1),
    ("small", "int_value", 0),
    ("yes", "bool_value", True),
    ("no", "bool_value", False),
    ("double", "double_value", 1e300),
    ("zero", "double_value", -0.0),
    ("nan", "double_value", float("nan")),
    ("infinite", "double_value", float("-inf")),
    ("bytes", "bytes_value", b"\0\xff\n"),
    ("none", "bytes_value", b""),
]


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


GOOD = samples.otlp(samples.table(3)).SerializeToString()
SPAN = samples.otlp(samples.table(1)).resource_spans[0].scope_spans[0].spans[0].SerializeToString()
HUGE = (  # varints
    b"\xff" * 9 + b"\x01",
    b"\xff" * 10 + b"\x01",
    b"\x80" * 9 + b"\x02",
    b"\x80" * 20,
    b"\xff\xff\xff\xff\x0f",
)


def spans(*made: bytes, resource: bytes = b"") -> bytes:
    return field(1, resource + field(2, b"".join(field(2, span) for span in made)))


def pair(value: bytes, key: bytes = b"a") -> bytes:
    return field(9, field(1, key) + field(2, value))


def scoped(scope: bytes, url: bytes = b"") -> bytes:
    return field(1, field(2, field(1, scope) + field(2, SPAN) + field(3, url)))


NASTY_DETAILS = {
    **{
        f"{where} {what}": spans(SPAN + field(number, inner), SPAN)
        for where, number, attributes in (("an event", 11, 3), ("a link", 13, 4))
        for what, inner in {
            "of nothing": b"",
            "with a stranger": b"\x7a\x00",
            "with a group": b"\x0b\x0c",
            "with a short time or short flags": b"\x09abc" if number == 11 else b"\x35ab",
            "that is torn": b"\x0a\x05",
            "with an empty attribute": field(attributes, b""),
            "with an attribute without value": field(attributes, field(1, b"k") + field(2, b"")),
            "with an attribute that is torn": field(attributes, b"\x0a\x05"),
            "with an attribute of two values": field(
                attributes, field(1, b"k") + field(2, field(1, b"x")) + field(2, b"\x18\x05")
            ),
            "with a stranger in an attribute": field(attributes, field(3, b"k")),
            "with a key that is not UTF-8": field(attributes, field(1, b"\xff")),
            "with a value that is not UTF-8": field(attributes, field(2, field(1, b"\xff"))),
            "with a NUL in an array": field(attributes, field(2, field(5, field(1, field(1, b"\0"))))),
            "with a text that is not UTF-8": field(5 - attributes, b"")
            + field(2 if number == 11 else 3, b"\xff"),
            "with a NUL": field(2 if number == 11 else 3, b"a\0b"),
        }.items()
    },
    **{
        f"an event of {number!r} dropped attributes": spans(SPAN + field(11, b"\x20" + number))
        for number in HUGE
    },
    **{
        f"a link of {number!r} dropped attributes": spans(SPAN + field(13, b"\x28" + number))
        for number in HUGE
    },
    "an event of two names": spans(SPAN + field(11, field(2, b"exception") + field(2, b"other"))),
    "an event of a longer name": spans(SPAN + field(11, field(2, b"exceptions"))),
    "many events": spans(SPAN + field(11, b"") * 1_025, SPAN + field(11, b"") * 1_024),
    "many links": spans(SPAN + field(13, b"") * 1_025, SPAN + field(13, b"") * 1_024),
    "long events": spans(SPAN + field(11, field(2, b"n" * 1_022)) * 257),
    "a trace state that is not UTF-8": spans(SPAN + field(3, b"\xff")),
    "a trace state with NUL": spans(SPAN + field(3, b"\0")),
    "a scope of nothing at all": scoped(b""),
    "a scope with a stranger": scoped(b"\x7a\x00"),
    "a scope that is torn": scoped(b"\x0a\x05"),
    "a scope that is no scope": field(1, field(2, b"\x08\x01" + field(2, SPAN))),
    "a scope's name that is not UTF-8": scoped(field(1, b"\xff")),
    "a scope's version with NUL": scoped(field(2, b"\0")),
    "a scope's attribute that is not UTF-8": scoped(field(3, field(1, b"\xff"))),
    "a long scope": scoped(field(1, b"n" * 70_000)),
    "a schema URL that is not UTF-8": scoped(b"", b"\xff"),
    "a group's schema URL with NUL": field(1, field(2, field(2, SPAN)) + field(3, b"\0")),
    "two scopes of spans": field(1, field(2, 2 * field(1, field(1, b"n")) + field(2, SPAN))),
    "a NUL in an array of a key that comes again": spans(
        SPAN + pair(field(5, field(1, field(1, b"\0")))) + pair(field(1, b"x"))
    ),
    "a NUL that a list of keys and values hides": spans(
        SPAN
        + pair(field(6, b"".join(field(1, field(1, b"a") + field(2, field(1, of))) for of in (b"\0", b"b"))))
    ),
    "a NUL in a key without value": spans(SPAN + field(9, field(1, b"\0"))),
    "a service that is NUL and another": spans(
        SPAN,
        resource=field(
            1,
            b"".join(
                field(1, field(1, b"service.name") + field(2, field(1, name))) for name in (b"\0", b"shop")
            ),
        ),
    ),
}
NASTY = {
    **NASTY_DETAILS,
    **{f"a length of {number!r}": spans(SPAN) + b"\x0a" + number for number in HUGE},
    **{f"a span's length of {number!r}": field(1, field(2, b"\x12" + number + SPAN)) for number in HUGE},
    **{
        f"a value's length of {number!r}": spans(SPAN + field(9, field(1, b"a") + b"\x12" + number))
        for number in HUGE
    },
    **{f"a number of {number!r}": spans(SPAN + pair(b"\x18" + number)) for number in HUGE},
    **{f"a kind of {number!r}": spans(SPAN[:-2] + b"\x30" + number) for number in HUGE},
    **{f"dropped attributes, {number!r}": spans(SPAN + b"\x50" + number) for number in HUGE},
    **{
        f"an array's number of {number!r}": spans(SPAN + pair(field(5, field(1, b"\x18" + number))))
        for number in HUGE
    },
    "a needlessly long length": spans(SPAN + b"\x4a\x86\x80\x00" + field(1, b"a") + b"\x12\x01\x00"),
    "a needlessly long tag": spans(SPAN) + b"\x8a\x00\x00",
    "a group": spans(SPAN + b"\x0b\x0c"),
    "a field of another wire type": spans(SPAN + b"\x48\x05"),
    "a field number of zero": spans(SPAN + b"\x02\x00"),
    "an unknown field": spans(SPAN + b"\xa0\x06\x05"),
    "library spans": field(1, field(1000, field(2, SPAN))),
    "two resources of a group": spans(SPAN, resource=2 * field(1, field(1, field(1, b"r")))),
    "a resource behind its spans": field(
        1, field(2, field(2, SPAN)) + field(1, field(1, field(1, b"r") + field(2, field(1, b"v"))))
    ),
    "two statuses": spans(SPAN + field(15, b"\x18\x02") + field(15, field(2, b"why"))),
    "two names": spans(SPAN + field(5, b"one") + field(5, b"two")),
    "two values of an attribute": spans(
        SPAN + field(9, field(1, b"a") + field(2, field(1, b"x")) + field(2, b"\x18\x05"))
    ),
    "two fields of a value": spans(SPAN + pair(field(1, b"x") + b"\x18\x05")),
    "a value before its key": spans(SPAN + field(9, field(2, field(1, b"x")) + field(1, b"a"))),
    "no key": spans(SPAN + field(9, field(2, field(1, b"x")))),
    "an empty attribute": spans(SPAN + field(9, b"")),
    "an empty value": spans(SPAN + pair(b"")),
    "a bool of 2": spans(SPAN + pair(b"\x10\x02")),
    "a bool of two bytes": spans(SPAN + pair(b"\x10\x81\x00")),
    "a short double": spans(SPAN + pair(b"\x21" + bytes(7))),
    "a long double": spans(SPAN + pair(b"\x21" + bytes(9))),
    "an empty array": spans(SPAN + pair(field(5, b""))),
    "an empty object": spans(SPAN + pair(field(6, b""))),
    "an object with an empty pair": spans(SPAN + pair(field(6, field(1, b"")))),
    "an array of what is no value": spans(SPAN + pair(field(5, field(2, b"x")))),
    "a status with a stranger": spans(SPAN[:-4] + field(15, b"\x08\x01")),
    "flags": spans(SPAN + b"\x85\x01abcd"),
    "short flags": spans(SPAN + b"\x85\x01abc"),
    "an id of 7 bytes": spans(field(1, b"t" * 16) + field(2, b"s" * 7)),
    "an id of no bytes": spans(field(1, b"") + field(2, b"s" * 8) + field(4, b"")),
    "a span of nothing": spans(b""),
    "a scope of nothing": field(1, field(2, b"")),
    "a group of nothing": field(1, b""),
    "nothing": b"",
    "a kind of 127": spans(field(2, b"s" * 8) + b"\x30\x7f"),
    "NUL": spans(SPAN + pair(field(1, b"x\0y"))),
    "a NUL in an array": spans(SPAN + pair(field(5, field(1, field(1, b"\0"))))),
    **{
        f"text {text!r}": spans(SPAN + pair(field(1, text)), field(1, b"t" * 16) + field(5, text))
        for text in (
            b"\xc0\x80",
            b"\xc3\xa9",
            b"\xc3",
            b"\xe0\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xee\x80\x80",
            b"\xef\xbf\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf0\x90\x80\x80",
            b"\xf4\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xe2\x82",
            b"\xe2\x28\xa1",
            b"\x80",
            b"\xf0\x90\x80",
            b"\xf0\x90\x28\xbc",
            b"\xf0\x90\x80\x28",
        )
    },
    "a key that is not UTF-8": spans(SPAN + pair(field(1, b"x"), key=b"\xff")),
    "an inner key that is not UTF-8": spans(SPAN + pair(field(6, field(1, field(1, b"\xff"))))),
    "a key of 300 bytes": spans(SPAN + pair(field(1, b"x"), key=b"k" * 300)),
    "a value of 17,000 bytes": spans(SPAN + pair(field(1, b"v" * 17_000))),
    "an array that is long as text": spans(SPAN + pair(field(5, field(1, field(1, b"\n" * 3_000))))),
    "an array that is nearly too long as text": spans(
        SPAN + pair(field(5, field(1, field(1, b"\n" * 2_500))))
    ),
}
