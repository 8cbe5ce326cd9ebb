"""Stage one: a window's offsets in, one table of its events out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Self, TypeVar

import msgspec

import db.engine
import db.ledger.windows
from db.errors import LostRace
from db.ledger.windows import Work
from streams import Envelope, Message, decode_envelope, raw
from streams.errors import StreamMissing, UnfitMessage
from streams.messages.fingerprint import FINGERPRINT_BYTES, fingerprint_of_envelope
from tasks.decoders import DecodedBatches, DecodeLimits, RawBatch, Reject, decode_batches
from tasks.errors import NotWhatWasBooked, WindowTooLarge
from tasks.events import EventTable
from tasks.handover import EXPIRED, DecodedWindow, Header, RejectRow, UnfitRow
from tasks.settings import TaskSettings
from tasks.stages import processor_time
from tasks.stages.breaker import spoilt_batches
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery, DeliveryAction, decided, grounds, suspect
from tasks.stages.gone import is_gone
from tasks.stages.key_events import counted
from tasks.stages.split import offsets, split

TOO_LARGE = "too_large"

Handed = TypeVar("Handed")


def run(
    context: Context, window_id: int, hand_on: Callable[[DecodedWindow], Handed], delivery: Delivery
) -> Handed | None:
    """Decode a recorded window and hand it on; None when nothing is to be handed on: it was deposited
    meanwhile, is split, or has to wait, or its customer was deleted.

    `hand_on` raises `WindowTooLarge` for more than it can take. Raises `streams.errors.BrokerUnavailable` or
    `db.errors.DatabaseUnavailable` when the broker or the database is away.
    """
    with db.engine.look(context.engine) as connection:
        work = db.ledger.windows.work(connection, window_id)
    if work is None or not work.due:
        return None
    context.measures.delivered(work.slug, delivery.kind)
    with suppress(LostRace), decided(context, work, delivery) as decision:
        match decision.action:
            case DeliveryAction.WORK:
                return _handed_on(context, work, hand_on)
            case DeliveryAction.REFUSE:
                return hand_on(refuse(work, *grounds(decision.bad_ends), decision.bad_ends.deaths))
            case DeliveryAction.SPLIT:
                split(context, work, decision.bad_ends)
    return None


def _handed_on(context: Context, work: Work, hand_on: Callable[[DecodedWindow], Handed]) -> Handed | None:
    began_us = processor_time.now_us()
    try:
        with context.measures.working(work.slug, "decode"), context.tracer.child("decode"):
            decoded = decode(work, _messages(context, work), context.settings)
        return hand_on(decoded._replace(header=processor_time.charged(decoded.header, began_us)))
    except StreamMissing:
        if is_gone(context, work.window.customer_id):
            return None
        raise
    except WindowTooLarge:
        if split(context, work):
            return None
        return hand_on(refuse(work, TOO_LARGE, "its events do not fit into one hand-over"))


def packed(decoded: DecodedWindow, settings: TaskSettings) -> bytes:
    """The hand-over to a stage that runs elsewhere. Raises `WindowTooLarge` above `settings.handover_bytes`,
    and for details that unpacked take more than `settings.decoded_bytes`.
    """
    data = decoded.packed(settings.decoded_bytes)
    if len(data) > settings.handover_bytes:
        raise WindowTooLarge
    return data


def decode(work: Work, messages: Sequence[Message], settings: TaskSettings) -> DecodedWindow:
    """A window decoded: its good events, its rejected events, its unfit batches.

    `messages` are the window's envelopes in the stream; one that retention removed meanwhile becomes unfit.
    Raises `WindowTooLarge` when `settings.decoded_bytes` is passed, and `NotWhatWasBooked` when one of them
    is not the message that was recorded at its offset.
    """
    read = ReadWindow.of(work, messages)
    return read.decoded(decode_batches(read.batches(), limits_of(settings)))


def limits_of(settings: TaskSettings) -> DecodeLimits:
    """What decoding may take."""
    return DecodeLimits(
        decompressed_bytes=settings.decompressed_bytes,
        ratio=settings.decompression_ratio,
        window_bytes=settings.decoded_bytes,
    )


class ReadWindow(NamedTuple):
    """A window and its envelopes, by offset."""

    work: Work
    envelopes: Mapping[int, Envelope]

    @classmethod
    def of(cls, work: Work, messages: Sequence[Message]) -> Self:
        """Raises `NotWhatWasBooked` as `decode` does."""
        return cls(work, {message.offset: _envelope(work, message) for message in messages})

    def batches(self) -> list[RawBatch]:
        """For the decoders."""
        return [_raw_batch(envelope) for envelope in self.envelopes.values()]

    def decoded(self, decoded: DecodedBatches) -> DecodedWindow:
        """With what became of the batches."""
        logs = None if decoded.logs is None else decoded.logs.table
        return DecodedWindow(_header(self.work, self.envelopes, decoded), decoded.good, logs)


def refuse(work: Work, reason: str, detail: str, deaths: int = 0) -> DecodedWindow:
    """A window of which every batch goes to quarantine, for the deaths held against it."""
    unfit = [UnfitRow(offset=offset, reason=reason, detail=detail) for offset in offsets(work.window)]
    header = _plain_header(work, batches=len(unfit), unfit=unfit)
    header = msgspec.structs.replace(header, deaths=max(deaths, header.deaths))
    return DecodedWindow(header, EventTable.none())


def _messages(context: Context, work: Work) -> list[Message]:
    # Not to the window's last offset: what is left of one that lost its end may lie before the stream's.
    due = offsets(work.window)
    wanted, deadline_s = set(due), context.settings.read_deadline_s
    messages = context.broker.read(raw(work.slug), due[0], due[-1], deadline_s=deadline_s)
    return [message for message in messages if message.offset in wanted]


def _envelope(work: Work, message: Message) -> Envelope:
    """Raises `NotWhatWasBooked` for another message than the one that was recorded; of a window of an earlier
    revision it is not known which one that was.
    """
    booked = work.window.fingerprints
    try:
        envelope = decode_envelope(message.data)
    except UnfitMessage as error:
        raise NotWhatWasBooked(f"offset {message.offset} of {raw(work.slug)}: {error}") from error
    if booked is not None:
        place = (message.offset - work.window.first_offset) * FINGERPRINT_BYTES
        if fingerprint_of_envelope(envelope) != booked[place : place + FINGERPRINT_BYTES]:
            raise NotWhatWasBooked(f"offset {message.offset} of {raw(work.slug)}")
    return envelope


def _header(work: Work, envelopes: Mapping[int, Envelope], decoded: DecodedBatches) -> Header:
    places = list(envelopes.items())
    unfit = [
        UnfitRow(offset=places[index][0], reason=error.reason, detail=error.detail)
        for index, error in decoded.unfit.items()
    ]
    unfit += [
        UnfitRow(offset=offset, reason=EXPIRED, detail="retention removed it before it was decoded")
        for offset in offsets(work.window)
        if offset not in envelopes
    ]
    rejects = [_reject(*places[reject.batch], reject) for reject in decoded.rejects]
    batches = len(envelopes) + len(unfit) - len(decoded.unfit)
    spoilt = spoilt_batches(decoded)
    header = _plain_header(
        work, batches=batches, unfit=unfit, rejects=rejects, decoded=decoded.found, spoilt=spoilt
    )
    key_events = counted([*envelopes.values()], decoded)
    return msgspec.structs.replace(header, key_events=key_events) if key_events else header


def _reject(offset: int, envelope: Envelope, reject: Reject) -> RejectRow:
    return RejectRow(
        offset=offset,
        batch_id=envelope.batch_id,
        accepted_at_us=envelope.came_at_us,
        row=reject.row,
        reason=reject.reason,
        detail=reject.detail,
        data=reject.data,
        format=reject.format,
    )


def _plain_header(
    work: Work,
    *,
    batches: int,
    unfit: list[UnfitRow],
    rejects: list[RejectRow] | None = None,
    decoded: int = 0,
    spoilt: dict[str, int] | None = None,
) -> Header:
    return Header(
        window_id=work.window.id,
        customer_id=work.window.customer_id,
        customer=work.slug,
        token=work.window.token,
        batches=batches,
        pipeline=work.pipeline,
        decoded=decoded,
        rejects=rejects or [],
        unfit=unfit,
        deaths=work.window.deaths,
        suspect=suspect(work.window),
        spoilt=spoilt or {},
    )


def _raw_batch(envelope: Envelope) -> RawBatch:
    return RawBatch(
        body=envelope.body,
        format=envelope.format,
        content_encoding=envelope.content_encoding,
        accepted_at_us=envelope.came_at_us,
    )
