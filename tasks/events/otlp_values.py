"""OTLP's attributes as its JSON encoding writes them (opentelemetry/proto/common/v1/common.proto)."""

import msgspec

Number = int | float | str  # 64-bit numbers: proto3's JSON takes them as numbers and as text


class Camel(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    """Named in lowerCamelCase; a field that has its default value is not written."""


class AnyValue(Camel):
    """OTLP's AnyValue: one of its fields, or none."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Number | None = None
    double_value: Number | None = None  # "NaN", "Infinity"
    array_value: "ArrayValue | None" = None
    kvlist_value: "KeyValueList | None" = None
    bytes_value: str | None = None  # base64


class ArrayValue(Camel):
    """OTLP's ArrayValue."""

    values: list[AnyValue] | None = None


class KeyValue(Camel):
    """OTLP's KeyValue."""

    key: str | None = None
    value: AnyValue | None = None


class KeyValueList(Camel):
    """OTLP's KeyValueList."""

    values: list[KeyValue] | None = None
