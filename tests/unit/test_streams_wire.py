"""Frames and chunks: read as the broker writes them, and nothing damaged passes."""

import asyncio
import gzip
import struct
import zlib

import pytest
from hypothesis import given, strategies as st
from rstream import schema
from rstream.encoding import encode_frame

from streams.connections import frames
from streams.connections.frame_cutter import FrameCutter
from streams.errors import UnfitMessage

HEAD = struct.Struct(">HHBBBHIqQQIIII")


def plain(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


def sub_batch(messages: list[bytes], compression: int = 0) -> bytes:
    data = b"".join(map(plain, messages))
    packed = gzip.compress(data) if compression == 1 else data
    return struct.pack(">BHII", 0x80 | compression << 4, len(messages), len(data), len(packed)) + packed


def deliver(
    entries: list[bytes], records: int, *, first: int = 100, kind: int = 0, crc: int = 0
) -> memoryview:
    data = b"".join(entries)
    crc = zlib.crc32(data) ^ crc
    head = HEAD.pack(8, 1, 7, 0x50, kind, len(entries), records, 1234, 1, first, crc, len(data), 0, 0)
    return memoryview(head + data)


def test_a_chunk_of_plain_messages_is_read() -> None:
    frame = deliver([plain(b"a"), plain(b""), plain(b"ccc")], 3)
    assert frames.subscription_of(frame) == 7
    delivered = frames.decode_deliver(frame)
    assert (delivered.first_offset, delivered.next_offset) == (100, 103)
    assert (delivered.timestamp_ms, delivered.size) == (1234, 16)
    assert delivered.messages == [b"a", b"", b"ccc"]


def test_sub_batches_between_plain_messages_keep_their_order() -> None:
    entries = [plain(b"0"), sub_batch([b"1", b"2"]), plain(b"3"), sub_batch([b"4", b"5", b"6"], 1)]
    delivered = frames.decode_deliver(deliver(entries, 7))
    assert delivered.messages == [b"%d" % number for number in range(7)]
    assert delivered.next_offset == 107


@pytest.mark.parametrize("compression", [2, 3, 4], ids=["snappy", "lz4", "zstd"])
def test_a_compression_that_we_lack_is_unfit(compression: int) -> None:
    with pytest.raises(UnfitMessage, match=f"compression {compression}"):
        frames.decode_deliver(deliver([sub_batch([b"1"], compression)], 1))


def test_a_chunk_that_is_not_the_users_has_no_messages_but_moves_on() -> None:
    delivered = frames.decode_deliver(deliver([plain(b"tracking")], 1, kind=1))
    assert delivered.messages == []
    assert delivered.next_offset == 101


def test_a_damaged_chunk_is_not_read() -> None:
    good = deliver([plain(b"a"), plain(b"b")], 2)
    with pytest.raises(ValueError, match="checksum"):
        frames.decode_deliver(deliver([plain(b"a")], 1, crc=1))
    with pytest.raises(ValueError, match="cut short"):
        frames.decode_deliver(good[:-1])
    with pytest.raises(ValueError, match="header says 3"):
        frames.decode_deliver(deliver([plain(b"a")], 3))
    with pytest.raises(ValueError, match="entries end"):
        frames.decode_deliver(deliver([plain(b"a"), b"\x00\x00\x00\x09a"], 2))


def test_a_bomb_in_a_sub_batch_is_not_inflated() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    entry = struct.pack(">BHII", 0x90, 1, 100, len(bomb)) + bomb
    with pytest.raises((UnfitMessage, ValueError)):
        frames.decode_deliver(deliver([entry], 1))


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20), st.integers(0, 255), st.integers(1, 2**60))
def test_a_publish_frame_is_what_rstream_would_send(
    messages: list[bytes], publisher: int, first: int
) -> None:
    theirs = schema.Publish(
        publisher_id=publisher,
        messages=[schema.Message(first + n, None, message) for n, message in enumerate(messages)],
    )
    assert frames.encode_publish(publisher, first, messages) == encode_frame(theirs)


def test_a_credit_frame_is_what_rstream_would_send() -> None:
    assert frames.encode_credit(9, 513) == encode_frame(schema.Credit(9, 513))


def test_confirms_and_refusals_are_read() -> None:
    confirm = encode_frame(schema.PublishConfirm(publisher_id=3, publishing_ids=[1, 2**40]))
    publisher, ids = frames.decode_confirm(memoryview(confirm)[4:])
    assert (publisher, list(ids)) == (3, [1, 2**40])
    error = encode_frame(
        schema.PublishError(3, [schema.PublishingError(5, 18), schema.PublishingError(6, 2)])
    )
    assert frames.decode_publish_error(memoryview(error)[4:]) == (3, [(5, 18), (6, 2)])


class FrameFeeder:
    """Feeds bytes to a FrameCutter as a socket would, in pieces."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lost: list[Exception] = []
        self.protocol = FrameCutter(self._on_frame, self.lost.append, lambda: None)

    def _on_frame(self, frame: memoryview, owned: bool) -> None:
        self.frames.append(bytes(frame))

    def feed(self, data: bytes, piece: int) -> None:
        assert isinstance(self.protocol, asyncio.BufferedProtocol)
        position = 0
        while position < len(data):
            buffer = self.protocol.get_buffer(-1)
            taken = min(len(buffer), piece, len(data) - position)
            buffer[:taken] = data[position : position + taken]
            self.protocol.buffer_updated(taken)
            position += taken


@pytest.mark.parametrize("piece", [1, 3, 4, 1000, 65_536, 1 << 20])
def test_frames_come_out_whole_however_the_socket_cuts_them(piece: int) -> None:
    sizes = [0, 1, 4, 5000, 16_384, 16_385] + ([40_000, 300_000, 700_000, 9] if piece > 4 else [])
    frames = [bytes([number]) * size for number, size in enumerate(sizes)] * 3
    receiver = FrameFeeder()
    receiver.feed(b"".join(map(plain, frames)), piece)
    assert receiver.lost == []
    assert receiver.frames == frames


def test_what_is_no_stream_listener_is_given_up() -> None:
    receiver = FrameFeeder()
    receiver.feed(b"HTTP/1.1 400 Bad Request\r\n", 100)
    assert [type(error) for error in receiver.lost] == [ValueError]
