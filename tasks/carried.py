"""The messages that a group's doorbell carries, so that its worker need not read the raw streams for them.

To begin to read a stream costs the broker more than to deliver a small message ten times. The dispatcher has
read these messages already. They are a copy, not a source: the worker takes one for what it says only where
the window's row has its fingerprint, and reads the raw stream for every window that is not carried whole.
"""

from collections.abc import Iterable, Mapping

import msgspec

MOST_BYTES = 2 * 1024 * 1024
"""Of messages in one doorbell; it stays in memory on its way, in dispatcher, broker and worker."""

Messages = Mapping[int, bytes]
"""Messages of a raw stream, as it has them, by offset."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[int, dict[int, bytes]])


def pack(windows: Iterable[tuple[int, Messages]]) -> bytes:
    """Of windows, by id, all messages; of those that come first, as many as there is room for. A window
    without messages is left out.
    """
    taken: dict[int, Messages] = {}
    room = MOST_BYTES
    for window_id, messages in windows:
        size = sum(map(len, messages.values()))
        if 0 < size <= room:
            room -= size
            taken[window_id] = messages
    return _encoder.encode(taken) if taken else b""


def unpack(data: bytes) -> dict[int, dict[int, bytes]]:
    """What `pack` took, by window. Raises `msgspec.MsgspecError` for bytes that it did not write."""
    return _decoder.decode(data) if data else {}
