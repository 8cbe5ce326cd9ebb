"""Heads of envelopes, read by comparing them with what was written by receivers before.

All that differs between two batches of one agent is the batch id, the times, the digest and whether it is
discarded, and these stand at the ends of their sections. What stands before is looked up by its bytes, which
takes a fifth of the time in which `amqp_read` takes it apart. What is found here means the same there: only
what `amqp_write` writes for known values is remembered, and every other byte of the head is compared.
"""

import re
import struct
from typing import NamedTuple, TypeVar

from streams.messages import amqp_write as write

T = TypeVar("T")

CUSTOMER, AGENT, FORMAT = write.string("customer"), write.string("agent"), write.string("format")
PUBLIC_KEY = write.string("public_key_id")
ACCEPTED, DIGEST, DISCARDED = (
    write.string("accepted_at_us"),
    write.string("digest"),
    write.string("discarded"),
)
_NULL = b"\x40"
# A longer head is taken apart: nobody's habit.
_HEAD_BYTES = 1024
# Entries of each memory; a full one is emptied, so that it is bounded whatever agents call themselves.
_MOST = 1024
_BATCH_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# The end of the application properties: time (µs), digest, whether it is discarded, each after its name.
_MARKS = (ACCEPTED + b"\x81", DIGEST + b"\xa0\x20", DISCARDED)
_TAIL = struct.Struct(">{}sq{}s32s{}sB".format(*map(len, _MARKS)))
_TRUE, _FALSE = 0x41, 0x42
_U32 = struct.Struct(">I")


class KnownHead(NamedTuple):
    """`body`: where it begins in the message, which it fills to its end."""

    batch_id: str
    customer: str
    agent: str
    format: str
    public_key_id: int | None
    content_type: str
    content_encoding: str
    accepted_at_us: int
    digest: bytes
    discarded: bool
    body: int


class KnownHeads:
    """What receivers wrote before, by its bytes. May be used by several threads."""

    def __init__(self) -> None:
        self._sources: dict[bytes, tuple[str, str, str, int | None]] = {}
        self._contents: dict[bytes, tuple[str, str]] = {}

    def find(self, message: memoryview) -> KnownHead | None:
        """None when the message is to be taken apart: it is of no known agent, of a replay, or unfit."""
        head = bytes(message[:_HEAD_BYTES])
        if len(head) < _TAIL.size or head[:4] != b"\x00\x53\x73\xc0" or head[5:7] != b"\x0a\xa1":
            return None
        id_end, properties_end = 8 + head[7], 5 + head[4]
        content = self._contents.get(head[id_end : properties_end - 8])
        wide = head[properties_end + 3 : properties_end + 4] == b"\xd1"
        start = properties_end + (8 if wide else 5)
        if content is None or start > len(head):
            return None
        size = _U32.unpack_from(head, start - 4)[0] if wide else head[start - 1]
        end = start + size
        source = self._sources.get(head[properties_end : end - _TAIL.size])
        if source is None or end + 8 > len(head):
            return None
        accepted, accepted_at_us, named, digest, flag, discarded = _TAIL.unpack_from(head, end - _TAIL.size)
        data_size = len(message) - end - 8
        if (
            (accepted, named, flag) != _MARKS
            or discarded not in (_TRUE, _FALSE)
            or head[end : end + 4] != b"\x00\x53\x75\xb0"
            or _U32.unpack_from(head, end + 4)[0] != data_size
            or _BATCH_ID.fullmatch(batch_id := head[8:id_end]) is None
        ):
            return None
        return KnownHead(
            batch_id.decode(), *source, *content, accepted_at_us, digest, discarded == _TRUE, end + 8
        )

    def remember(
        self,
        customer: str,
        agent: str,
        form: str,
        content_type: str,
        content_encoding: str,
        public_key_id: int | None,
    ) -> None:
        """An envelope with these was read."""
        if not (content_type + content_encoding).isascii():
            return
        fields = (_NULL * 5, write.symbol(content_type), write.symbol(content_encoding), _NULL, b"\x83")
        _add(self._contents, b"".join(fields), (content_type, content_encoding))
        pairs = (CUSTOMER, customer, AGENT, agent, FORMAT, form)
        names = b"".join(part if isinstance(part, bytes) else write.string(part) for part in pairs)
        key = public_key(public_key_id)
        section = write.application_properties(names + key + bytes(_TAIL.size), 7 if key else 6)
        _add(self._sources, section[: -_TAIL.size], (customer, agent, form, public_key_id))


def public_key(key_id: int | None) -> bytes:
    """Its application property, which is left out for no public key."""
    return b"" if key_id is None else PUBLIC_KEY + write.long(key_id)


def _add(memory: dict[bytes, T], key: bytes, value: T) -> None:
    if len(key) > _HEAD_BYTES:
        return
    if len(memory) >= _MOST:
        memory.clear()
    memory[key] = value
