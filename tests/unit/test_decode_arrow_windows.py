"""Arrow streams of a window that are read as one: which, and that none of them is read for another."""

import struct

import pyarrow as pa
import pytest

from tasks.decoders import DecodeLimits
from tasks.decoders.arrow import joined
from tasks.decoders.arrow.flatbuffer import I64, U32, at, field, follow, number as number_at
from tasks.decoders.arrow.framing import framed
from tasks.errors import WindowTooLarge
from tests.unit import decode_samples as samples
from tests.unit.decode_apart import Decoder
from tests.unit.decode_samples import raw
from tests.unit.test_decode_windows import assert_as_alone

MIB = 1024 * 1024
LIMITS = DecodeLimits()
REGULAR = ("plain", "zstd", "lz4", "views", "struct", "pairs")


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_a_plain_stream_is_known_by_its_messages(compression: str | None) -> None:
    body = samples.ipc(samples.table(40), compression)
    stream = framed(body, LIMITS)
    assert stream is not None
    assert stream.rows == [40]
    assert body == stream.schema + bytes(stream.records) + joined.END
    assert 40 * 100 < stream.size < 40 * 400


def test_a_stream_may_have_many_record_batches_or_none() -> None:
    chunks = pa.concat_tables([samples.table(3), samples.table(4, 2)])
    for events, rows in ((chunks, [3, 4]), (chunks.slice(0, 0), [])):
        stream = framed(samples.ipc(events), LIMITS)
        assert stream is not None
        assert [size for size in stream.rows if size] == rows


@pytest.mark.parametrize("name", sorted(samples.streams()))
def test_streams_of_dictionaries_are_read_alone(name: str) -> None:
    assert (framed(samples.streams()[name], LIMITS) is not None) == (name in REGULAR)


def test_what_is_behind_the_end_or_passes_a_bound_is_read_alone() -> None:
    body = samples.ipc(samples.table(5))
    assert framed(body + b"\0", LIMITS) is None
    assert framed(body + body, LIMITS) is None
    assert framed(body[:-8], LIMITS) is not None
    assert framed(body, DecodeLimits(events=4)) is None
    assert framed(body, DecodeLimits(decompressed_bytes=100)) is None


def test_streams_of_two_schemas_and_what_cannot_be_read_become_what_they_are_alone() -> None:
    bodies = [body for body in samples.streams().values() for _ in range(3)]
    texts = samples.ipc(samples.table(6)).replace(b"service-3", b"service-\xc3")
    batches = [raw(body, "arrow") for body in [*bodies, texts, *reversed(bodies), b"", texts]]
    assert sum(assert_as_alone(batches).counts) == 40 * 66 + 2 * 5  # one of the streams has 80 rows


def test_rows_that_cannot_be_cast_are_rejects_of_their_own_batch() -> None:
    events = samples.table(4)
    ids = [text.hex() for text in events["trace_id"].to_pylist()]
    good, bad = (
        samples.ipc(samples.with_column(events, "trace_id", pa.array([ids[0], one, ids[2], ids[3]])))
        for one in (ids[1], "no id")
    )
    window = assert_as_alone([raw(body, "arrow") for body in (good, bad, good, good, bad)])
    assert window.counts == [4, 3, 4, 4, 3]
    assert [(one.batch, one.row) for one in window.rejects] == [(1, 1), (4, 1)]


def test_a_stream_cut_anywhere_costs_its_neighbours_nothing() -> None:
    body, other = samples.ipc(samples.table(2)), samples.ipc(samples.table(2, 9))
    cuts = [raw(body[:size], "arrow") for size in range(0, len(body), 3)]
    batches = [one for cut in cuts for one in (cut, raw(other, "arrow"))]
    assert assert_as_alone(batches).counts[1::2] == [2] * len(cuts)


def test_a_length_that_lies_takes_no_byte_of_a_neighbour() -> None:
    body = samples.ipc(samples.table(2))
    schema = len(framed(body, LIMITS).schema)  # type: ignore[union-attr]
    lies = []
    for place in range(schema + 8, schema + 8 + struct.unpack_from("<i", body, schema + 4)[0] - 8, 8):
        for number in (8, 64, len(body), 2**31, 2**62, -1):
            made = bytearray(body)
            struct.pack_into("<q", made, place, number)
            lies.append(raw(bytes(made), "arrow"))
            stream = framed(bytes(made), LIMITS)
            assert stream is None or len(stream.schema + joined.END) + len(stream.records) == len(body)
    window = assert_as_alone([one for lie in lies for one in (lie, raw(body, "arrow"))])
    assert window.counts[1::2] == [2] * len(lies)


def test_a_window_that_unpacks_to_more_than_the_bound_is_not_unpacked_at_once() -> None:
    events = samples.with_column(samples.table(1), "status_message", pa.array(["m" * 20 * MIB]))
    batches = [raw(samples.ipc(events, "zstd"), "arrow")] * 8
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    with pytest.raises(WindowTooLarge):
        samples.decode(*batches, window_bytes=50 * MIB)
    assert pool.max_memory() <= max(before, 200 * MIB)


def with_wild_offsets_of_no_rows(body: bytes) -> bytes:
    """A stream whose last record batch has no rows, and has all of its buffers written over.

    Which field is which: Message.fbs.
    """
    start, end = 0, 0
    while end < len(body) - len(joined.END):
        start = end
        head = start + 8
        metadata = memoryview(body)[head : head + struct.unpack_from("<i", body, start + 4)[0]]
        end = head + len(metadata) + number_at(I64, metadata, at(U32, metadata, 0), 3)
    made = bytearray(body[start:end])
    records = follow(metadata, at(U32, metadata, 0), 2)
    assert records is not None
    nodes = follow(metadata, records, 1)
    assert nodes is not None
    numbers = range(nodes + 4, nodes + 4 + 16 * at(U32, metadata, nodes), 8)
    for place in (field(metadata, records, 0), *numbers):
        struct.pack_into("<q", made, 8 + place, 0)
    made[8 + len(metadata) :] = b"\x7f" * (len(made) - 8 - len(metadata))
    return body[:start] + bytes(made) + joined.END


@pytest.mark.parametrize("name", ["plain", "dictionaries", "map of dictionaries", "pairs", "struct", "views"])
def test_what_the_offsets_of_no_rows_say_is_not_followed(name: str) -> None:
    body = samples.streams()[name]
    apart = Decoder()  # pyarrow's crash can't be caught
    answer = apart(with_wild_offsets_of_no_rows(body), "arrow", twice=True)
    apart.close()
    assert (answer["error"], answer["unfit"], answer["events"]) == (None, None, 0)
