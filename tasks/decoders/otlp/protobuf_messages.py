"""OTLP's trace messages for protobuf, narrowed to what is kept of a span.

The same wire format as opentelemetry/proto/trace/v1/trace.proto with two liberties that protobuf's encoding
allows: fields that are not read are left out, and strings, attributes, span events and links are taken as
bytes, so that one bad string costs one span, each distinct attribute is parsed once, and a span's details
when somebody takes them.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE: Final = "sluice.otlp"
BYTES: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
FIXED64: Final = descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64
INT32: Final = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
INT64: Final = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
BOOL: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
DOUBLE: Final = descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE
FIXED32: Final = descriptor_pb2.FieldDescriptorProto.TYPE_FIXED32
UINT32: Final = descriptor_pb2.FieldDescriptorProto.TYPE_UINT32
LIBRARY_SPANS: Final = 1000  # where OTLP 0.15 moved the older name of scope_spans, whose fields are the same
Kind = int | str  # a scalar type or the name of a message
Field = tuple[str, int, Kind, bool]  # name, number, kind, repeated

MESSAGES: Final[dict[str, tuple[Field, ...]]] = {
    "Request": (("resource_spans", 1, "ResourceSpans", True),),
    "ResourceSpans": (
        ("resource", 1, "Resource", False),
        ("scope_spans", 2, "ScopeSpans", True),
        ("schema_url", 3, BYTES, False),
        ("instrumentation_library_spans", LIBRARY_SPANS, "ScopeSpans", True),
    ),
    "Resource": (("attributes", 1, BYTES, True), ("dropped_attributes_count", 2, UINT32, False)),
    "ScopeSpans": (
        ("scope", 1, "Scope", False),
        ("spans", 2, "Span", True),
        ("schema_url", 3, BYTES, False),
    ),
    "Scope": (
        ("name", 1, BYTES, False),
        ("version", 2, BYTES, False),
        ("attributes", 3, BYTES, True),
        ("dropped_attributes_count", 4, UINT32, False),
    ),
    "Span": (
        ("trace_id", 1, BYTES, False),
        ("span_id", 2, BYTES, False),
        ("trace_state", 3, BYTES, False),
        ("parent_span_id", 4, BYTES, False),
        ("name", 5, BYTES, False),
        ("kind", 6, INT32, False),
        ("start_time_unix_nano", 7, FIXED64, False),
        ("end_time_unix_nano", 8, FIXED64, False),
        ("attributes", 9, BYTES, True),
        ("dropped_attributes_count", 10, UINT32, False),
        ("events", 11, BYTES, True),
        ("dropped_events_count", 12, UINT32, False),
        ("links", 13, BYTES, True),
        ("dropped_links_count", 14, UINT32, False),
        ("status", 15, BYTES, False),
        ("flags", 16, FIXED32, False),
    ),
    "Event": (
        ("time_unix_nano", 1, FIXED64, False),
        ("name", 2, BYTES, False),
        ("attributes", 3, BYTES, True),
        ("dropped_attributes_count", 4, UINT32, False),
    ),
    "Link": (
        ("trace_id", 1, BYTES, False),
        ("span_id", 2, BYTES, False),
        ("trace_state", 3, BYTES, False),
        ("attributes", 4, BYTES, True),
        ("dropped_attributes_count", 5, UINT32, False),
        ("flags", 6, FIXED32, False),
    ),
    "RawRequest": (("resource_spans", 1, BYTES, True),),
    "RawGroup": (
        ("scope_spans", 2, BYTES, True),
        ("instrumentation_library_spans", LIBRARY_SPANS, BYTES, True),
    ),
    "RawScope": (("spans", 2, BYTES, True),),
    "Status": (("message", 2, BYTES, False), ("code", 3, INT32, False)),
    "KeyValue": (("key", 1, BYTES, False), ("value", 2, "AnyValue", False)),
    "ArrayValue": (("values", 1, "AnyValue", True),),
    "KeyValueList": (("values", 1, "KeyValue", True),),
    "AnyValue": (
        ("string_value", 1, BYTES, False),
        ("bool_value", 2, BOOL, False),
        ("int_value", 3, INT64, False),
        ("double_value", 4, DOUBLE, False),
        ("array_value", 5, "ArrayValue", False),
        ("kvlist_value", 6, "KeyValueList", False),
        ("bytes_value", 7, BYTES, False),
    ),
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="sluice/otlp.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        if name == "AnyValue":
            message.oneof_decl.add(name="value")
        for field_name, number, kind, repeated in fields:
            field = message.field.add(name=field_name, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = kind  # type: ignore[assignment] # the stubs want the enum's own type
            if name == "AnyValue":
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    described = {name: pool.FindMessageTypeByName(f"{PACKAGE}.{name}") for name in MESSAGES}
    return {name: message_factory.GetMessageClass(one) for name, one in described.items()}


_made: Final = _classes()
Request: Final = _made["Request"]
Group: Final = _made["ResourceSpans"]
Resource: Final = _made["Resource"]
ScopeSpans: Final = _made["ScopeSpans"]
Scope: Final = _made["Scope"]
Span: Final = _made["Span"]
Event: Final = _made["Event"]
Link: Final = _made["Link"]
RawRequest: Final = _made["RawRequest"]
RawGroup: Final = _made["RawGroup"]
RawScope: Final = _made["RawScope"]
KeyValue: Final = _made["KeyValue"]
AnyValue: Final = _made["AnyValue"]
Status: Final = _made["Status"]
