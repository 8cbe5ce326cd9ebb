"""What a pipeline made of one window, as it lies in processed.<customer>: an AMQP 1.0 message.

properties: message-id (the window's id, ulong). application-properties: customer. One data section.
"""

from typing import NamedTuple

from streams.errors import UnfitMessage
from streams.messages import amqp_write as write
from streams.messages.amqp_read import sections

_CUSTOMER = write.string("customer")
_CONTENT_TYPE = "application/octet-stream"


class Result(NamedTuple):
    """`data` is a slice of the message."""

    window_id: int
    customer: str
    data: memoryview


def encode_result(window_id: int, customer: str, data: bytes) -> bytes:
    """`data`: the processed tables, in whatever form their owner packs them."""
    head = write.properties(write.ulong(window_id), _CONTENT_TYPE, "", None)
    pairs = _CUSTOMER + write.string(customer)
    return b"".join((head, write.application_properties(pairs, 1), write.data_head(len(data)), data))


def decode_result(message: bytes | memoryview) -> Result:
    """Raises UnfitMessage."""
    found = sections(message)
    window_id = found.properties[0] if found.properties else None
    customer = found.application.get("customer")
    if not isinstance(window_id, int) or not isinstance(customer, str):
        raise UnfitMessage("a result needs its window's id as message-id, and a customer")
    return Result(window_id, customer, found.data)
