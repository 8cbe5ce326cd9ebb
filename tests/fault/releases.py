"""What a later release might add to messages: fields, properties and headers that today's code never saw."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import msgspec

Wrap = Callable[[ModuleType], None]


def _envelopes(module: ModuleType) -> None:
    """An application property more in every envelope."""
    amqp: Any = module.write
    plain = amqp.application_properties

    def more(pairs: bytes, count: int) -> bytes:
        added: bytes = amqp.string("of-a-later-release") + amqp.string("unknown today")
        written: bytes = plain(pairs + added, count + 1)
        return written

    amqp.application_properties = more


def _handovers(module: ModuleType) -> None:
    """A header field more in every hand-over."""
    handover: Any = module
    later = msgspec.defstruct(
        "LaterHeader",
        [("of_a_later_release", str, "unknown today")],
        bases=(handover.Header,),
        frozen=True,
        kw_only=True,
    )
    plain = handover.pack

    def pack(header: Any, tables: Mapping[str, Any]) -> bytes:
        fields = {name: getattr(header, name) for name in handover.Header.__struct_fields__}
        packed: bytes = plain(later(**fields), tables)
        return packed

    handover.pack = pack


def _tasks(module: ModuleType) -> None:
    """A header more on every task message."""
    celery: Any = module
    plain = celery.Signature.apply_async

    def apply_async(self: Any, *arguments: Any, **options: Any) -> Any:
        headers = {**(options.get("headers") or {}), "of_a_later_release": "unknown today"}
        return plain(self, *arguments, **options | {"headers": headers})

    celery.Signature.apply_async = apply_async


LATER: Mapping[str, Mapping[str, Wrap]] = {
    "receiver": {"streams.messages.envelope": _envelopes},
    "dispatcher": {"celery.canvas": _tasks},
    "worker": {"tasks.handover": _handovers, "celery.canvas": _tasks},
}
