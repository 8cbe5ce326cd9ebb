"""OTLP's trace messages for protobuf, narrowed to what becomes of an event.

The same wire format as opentelemetry/proto/trace/v1/trace.proto with two liberties that protobuf's encoding
allows: fields that are not read are left out, and strings and attributes are taken as bytes, so that one bad
string costs one span and each distinct attribute is parsed once.
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
LIBRARY_SPANS: Final = 1000  # where OTLP 0.15 moved the older name of scope_spans, whose fields are the same
Kind = int | str  # a scalar type or the name of a message
Field = tuple[str, int, Kind, bool]  # name, number, kind, repeated

MESSAGES: Final[dict[str, tuple[Field, ...]]] = {
    "Request": (("resource_spans", 1, "ResourceSpans", True),),
    "ResourceSpans": (
        ("resource", 1, "Resource", False),
        ("scope_spans", 2, "ScopeSpans", True),
        ("instrumentation_library_spans", LIBRARY_SPANS, "ScopeSpans", True),
    ),
    "Resource": (("attributes", 1, BYTES, True),),
    "ScopeSpans": (("spans", 2, "Span", True),),
    "Span": (
        ("trace_id", 1, BYTES, False),
        ("span_id", 2, BYTES, False),
        ("parent_span_id", 4, BYTES, False),
        ("name", 5, BYTES, False),
        ("kind", 6, INT32, False),
        ("start_time_unix_nano", 7, FIXED64, False),
        ("end_time_unix_nano", 8, FIXED64, False),
        ("attributes", 9, BYTES, True),
        ("status", 15, BYTES, False),
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
Span: Final = _made["Span"]
RawRequest: Final = _made["RawRequest"]
RawGroup: Final = _made["RawGroup"]
RawScope: Final = _made["RawScope"]
KeyValue: Final = _made["KeyValue"]
AnyValue: Final = _made["AnyValue"]
Status: Final = _made["Status"]
