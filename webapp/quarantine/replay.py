"""Sending quarantined rows through again: each becomes a batch of the raw stream under a batch id of its own.

Exactly once, wherever we die and however many do it at once: the batch id follows from the row, is written
into the row before the first publish, and is remembered by dispatch for as long as the row may be sent again.
A second publish of a row is a repeat, and is booked as a duplicate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

import db.quarantine.acts
from db.clock import now_us
from db.customers.rows import Customer
from db.engine import begin
from db.quarantine.acts import REPLAYABLE, Note
from db.quarantine.rows import Quarantined, Selection
from streams import Broker, Envelope, encode_envelope, raw
from webapp.quarantine.portions import OnProgress, portions
from webapp.quarantine.withheld import Withheld
from webapp.receiving import batches, otlp
from webapp.receiving.accept import ENVELOPE_OVERHEAD
from webapp.receiving.digests import body_digest

AGENT = "flask quarantine replay"
CONTENT_TYPES = {
    kind.name: kind.content_type
    for formats in (batches.FORMATS, *otlp.FORMATS.values())
    for kind in formats.values()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an operator says that rows' bytes really are; None: what they came as. "" is no encoding."""

    format: str | None = None
    content_encoding: str | None = None

    def of(self, row: Quarantined) -> tuple[str, str]:
        """Format and content encoding of the row's replay."""
        encoding = row.content_encoding if self.content_encoding is None else self.content_encoding
        return self.format or row.format, encoding

    def note(self, why: str) -> str:
        """The note's words, which keep what was said."""
        form = self.format and f"as {self.format}"
        encoding = (
            None if self.content_encoding is None else f"encoded as {self.content_encoding or 'identity'}"
        )
        return "; ".join(filter(None, (form, encoding, why)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A row that stays as it is, and why."""

    row_id: int
    batch_id: str
    why: str


def replay_id(row_id: int, digest: bytes) -> str:
    """The batch id of a row's replay: longer than any an agent can send, so that none is taken for it."""
    return f"replay-{row_id}-{digest.hex()}"


@dataclass(kw_only=True)
class Replay:
    """One operator's replay of one customer's rows, and how far it came, also after an error.

    A row's batch id does not follow from `said`: what was published once is a repeat, whatever is said of it
    the next time. `batches` and `events` count the rows that were published, `skipped` names those that
    cannot be.
    """

    engine: Engine
    broker: Broker
    customer: Customer
    by: str
    why: str
    deadline_s: float
    said: Said = Said()
    batches: int = 0
    events: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def run(self, selection: Selection, progress: OnProgress) -> None:
        """Publish every selected row once, and mark it. May be killed, repeated, and run twice at once.

        Rows that come into quarantine meanwhile are left alone. The broker has to be connected.
        Raises db.errors.DatabaseUnavailable, streams.errors.BrokerUnavailable (no confirm of a slice within
        `deadline_s` seconds): a repetition completes it.
        """
        withheld = Withheld(self.broker, self.customer.slug, deadline_s=self.deadline_s)
        for rows in portions(self.engine, selection):
            published = self._publish(rows, withheld)
            # Dying before this mark publishes once more on the next try; dispatch finds the repeat.
            with begin(self.engine) as connection:
                db.quarantine.acts.finish_replay(
                    connection, [row.id for row in published], now_us(connection)
                )
            self.events += sum(row.row is not None for row in published)
            self.batches += sum(row.row is None for row in published)
            progress(len(rows))

    def _publish(self, rows: Sequence[Quarantined], withheld: Withheld) -> list[Quarantined]:
        """Those of the rows that the raw stream has now."""
        messages: dict[int, bytes] = {}
        names: dict[int, str] = {}
        fetched = withheld.fetch_all(rows)
        at_us, largest = now_us(self.engine), self.broker.frame_max
        with begin(self.engine) as connection:
            # Looked at again under their locks: another may have discarded or replayed them since.
            locked = db.quarantine.acts.lock(connection, [row.id for row in rows], REPLAYABLE)
            for row, data in locked:
                data = fetched.get(row.id) or data
                try:
                    if not data and row.withheld is not None:
                        raise ValueError(withheld.why_not(row.id))
                    envelope = _envelope(self.customer, row, data, self.said, at_us)
                    messages[row.id] = _fitting(encode_envelope(envelope), largest)
                    names[row.id] = envelope.batch_id
                except ValueError as error:
                    self.skipped.append(Skipped(row_id=row.id, batch_id=row.batch_id, why=str(error)))
            db.quarantine.acts.begin_replay(connection, names, at_us)
            note = Note(act="replay", who=self.by, why=self.said.note(self.why), noted_at=at_us)
            db.quarantine.acts.note(connection, self.customer.id, names, note)
        if messages:
            stream = raw(self.customer.slug)
            self.broker.publish_all(stream, list(messages.values()), deadline_s=self.deadline_s)
        return [row for row, _ in locked if row.id in messages]


def _envelope(customer: Customer, row: Quarantined, data: bytes, said: Said, at_us: int) -> Envelope:
    """Raises ValueError when nothing can be sent again."""
    if not data:
        raise ValueError(f"there are no bytes of it ({row.reason})")
    if not row.format:
        raise ValueError("it never was a batch: its format is not known")
    form, encoding = said.of(row)
    digest = body_digest(data, row.content_encoding)
    return Envelope(
        batch_id=replay_id(row.id, digest),
        customer=customer.slug,
        agent=AGENT,
        format=form,
        content_type=CONTENT_TYPES.get(form, ""),
        content_encoding=encoding,
        # The time of the replay: batch ids are remembered, and freshness is measured, from it.
        accepted_at_us=at_us,
        first_accepted_at_us=row.accepted_at,
        digest=digest,
        body=data,
    )


def _fitting(message: bytes, largest: int) -> bytes:
    if len(message) + ENVELOPE_OVERHEAD > largest:
        raise ValueError("it is larger than the broker's frames")
    return message
