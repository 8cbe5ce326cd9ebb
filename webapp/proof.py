"""What a verification has found, and the windows that it walks along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from db.coverage import Span

MOST_DIFFERENCES = 100


@dataclass(slots=True)
class Proof:
    """What was looked at, and what did not fit; at most 100 sentences are kept, the others are counted."""

    first_offset: int = 0  # the oldest that was looked at
    cursor: int = 0
    read: int = 0
    skipped: int = 0
    windows: int = 0
    unprovable: int = 0  # offsets whose window or batch id is no longer remembered
    differences: list[str] = field(default_factory=list)
    more_differences: int = 0

    def differs(self, sentence: str) -> None:
        """Keep or count one difference."""
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(sentence)
        else:
            self.more_differences += 1


class Covering:
    """The windows along the stream; tells which one an offset lies in, and notes every gap and overlap."""

    def __init__(self, spans: Iterator[Span], proof: Proof, windows_pruned: int) -> None:
        self._spans = spans
        self._proof = proof
        self._pruned = windows_pruned
        self._next = proof.first_offset
        self._current: Span | None = None

    def at(self, offset: int) -> Span | None:
        """The window of the offset, None when none has it; offsets must not go back."""
        while self._current is None or self._current.last_offset < offset:
            span = next(self._spans, None)
            if span is None:
                return None
            self._enter(span)
        return self._current if self._current.first_offset <= offset else None

    def finish(self) -> None:
        """Note what lies between the last batch that was read and the cursor."""
        for span in self._spans:
            self._enter(span)
        if self._next != self._proof.cursor:
            self._proof.differs(
                f"windows reach to offset {self._next}, the cursor is at {self._proof.cursor}"
            )

    def _enter(self, span: Span) -> None:
        proof, name = self._proof, f"window {span.window_id}"
        first = proof.windows == 0
        proof.windows += 1
        if span.first_offset > self._next:
            gap = f"offsets {self._next} to {span.first_offset - 1} lie in no window"
            if first and self._pruned:
                proof.unprovable += span.first_offset - self._next
            else:
                proof.differs(gap)
        elif span.first_offset < self._next and not first:
            proof.differs(f"{name} begins at {span.first_offset}, inside of the one before it")
        worked_on = span.last_offset - span.first_offset + 1 - len(span.skipped)
        if worked_on != span.batches:
            proof.differs(
                f"{name} books {span.batches} batches, but {worked_on} of its offsets are not skipped"
            )
        self._next = max(self._next, span.last_offset + 1)
        self._current = span
