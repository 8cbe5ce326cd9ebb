"""Arrow streams that hold what no array can: written with looser types, and labelled with stricter ones."""

import struct
from typing import Any

import pyarrow as pa

from tests.unit import decode_samples as samples
from tests.unit.decode_samples import ipc, with_column

BYTES_OF = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def texts(kind: Any, rows: int, bad: int) -> Any:
    """Strings of which one is not UTF-8."""
    words = [b"word-%d" % row for row in range(rows)]
    words[bad] = b"wrong\xff\xfe"
    return pa.array(words, BYTES_OF[kind]).view(kind)


def of_one_each(kind: Any, *columns: Any) -> Any:
    """Maps (`kind` None), or lists of structs of these names, with one entry a row."""
    offsets = pa.array(range(len(columns[0]) + 1), pa.int32())
    if kind is None:
        return pa.MapArray.from_arrays(offsets, *columns)
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, names=kind))


def with_null_key(events: pa.Table, row: int) -> bytes:
    """`events` with attributes as a map, whose key is null in one row."""
    keys = pa.array([None if one == row else "key" for one in range(len(events))], pa.string())
    values = pa.array(["value"] * len(events))
    loose = ipc(with_column(events, "attributes", of_one_each(["key", "value"], keys, values)))
    strict = ipc(with_column(events, "attributes", of_one_each(None, values, values)))
    return strict[: _schema_end(strict)] + loose[_schema_end(loose) :]


def _schema_end(stream: bytes) -> int:
    return 8 + int(struct.unpack_from("<i", stream, 4)[0])


def categories(prefix: str, rows: int) -> Any:
    """As pandas writes a categorical of a few words: with indices of 8 bits."""
    words = pa.array([f"{prefix}-{row}" for row in range(rows)])
    return words.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))


def without_offsets(kind: Any) -> Any:
    """An array of lists or maps without rows, whose offsets have no byte: Arrow allows that."""
    if pa.types.is_map(kind):
        fields = [kind.key_field, kind.item_field]
        entries = pa.StructArray.from_arrays([pa.array([], one.type) for one in fields], fields=fields)
    else:
        entries = pa.array([], kind.value_type)
    made = {"map": pa.MapArray, "list": pa.ListArray, "large_list": pa.LargeListArray}[
        str(kind).split("<")[0]
    ]
    return made.from_buffers(kind, 0, [None, pa.py_buffer(b"")], children=[entries])


def unused_bytes(rows: int, bad: int) -> dict[str, tuple[str, Any]]:
    """Columns in which no row has the bytes that are no UTF-8; the row where they would be is null or not."""
    keys, wrong = pa.array(["key"] * rows), texts(pa.string(), rows, bad)
    coded = pa.DictionaryArray.from_arrays(pa.array(range(rows), pa.int8()), wrong)
    null = pa.array([row == bad for row in range(rows)])
    ends = pa.array(range(rows + 1), pa.int32())
    entries = of_one_each(["key", "value"], keys, wrong).values
    other = pa.array([0 if row == bad else row for row in range(rows)], pa.int8())
    fields = [pa.field("a", pa.string(), nullable=False), pa.field("b", pa.string())]
    made = {
        f"{values.type} under a null map": pa.MapArray.from_arrays(ends, keys, values, mask=null)
        for values in (wrong, coded, texts(pa.large_string(), rows, bad), texts(pa.string_view(), rows, bad))
    }
    made["under a null list"] = pa.ListArray.from_arrays(ends, entries, mask=null)
    made["under a null large list"] = pa.LargeListArray.from_arrays(ends.cast(pa.int64()), entries, mask=null)
    made["under a null struct"] = pa.StructArray.from_arrays([wrong, keys], fields=fields, mask=null)
    columns = {name: ("attributes", column) for name, column in made.items()}
    return columns | {"a dictionary's word": ("service", pa.DictionaryArray.from_arrays(other, wrong))}


def broken_rows(rows: int, bad: int) -> dict[str, tuple[bytes, str]]:
    """Streams of so many events of which one can't be read, and the reason."""
    events = samples.table(rows)
    good = pa.array(["value"] * rows)
    made: dict[str, tuple[Any, str]] = {
        f"{kind} that is not UTF-8": (with_column(events, "service", texts(kind, rows, bad)), "bad_utf8")
        for kind in BYTES_OF
    }
    for kind in BYTES_OF:
        words = pa.DictionaryArray.from_arrays(pa.array(range(rows), pa.int8()), texts(kind, rows, bad))
        made[f"a dictionary's {kind}"] = (with_column(events, "operation", words), "bad_utf8")
    binary = pa.array([b"\xff" if row == bad else b"ok" for row in range(rows)])
    made["binary"] = (with_column(events, "user_id", binary), "bad_utf8")
    wrong = texts(pa.string(), rows, bad)
    struct_of = pa.StructArray.from_arrays([wrong, pa.array(range(rows))], names=["a", "b"])
    nulls = pa.array([None if row == bad else "key" for row in range(rows)])
    for name, column, reason in (
        ("a struct's field", struct_of, "bad_utf8"),
        ("a map's key", of_one_each(None, wrong, good), "bad_utf8"),
        ("a map's value", of_one_each(None, good, wrong), "bad_utf8"),
        ("a list's value", of_one_each(["key", "value"], good, wrong), "bad_utf8"),
        ("a list's key that is null", of_one_each(["key", "value"], nulls, good), "bad_attributes"),
        (
            "a map's key that is a null word",
            of_one_each(None, pa.DictionaryArray.from_arrays(range(rows), nulls), good),
            "bad_attributes",
        ),
        ("JSON that is not UTF-8", pa.array([b"{}"] * bad + [b'{"\xff":1}'] + [b"{}"] * (rows - bad - 1)),
         "bad_attributes"),
    ):  # fmt: skip
        made[name] = (with_column(events, "attributes", column), reason)
    bodies = {name: (ipc(table), reason) for name, (table, reason) in made.items()}
    return bodies | {"a map's key that is null": (with_null_key(events, bad), "bad_attributes")}
