"""What a verification has found, and the windows that it walks along."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

import db.accounting.coverage
from db.accounting.coverage import WindowOffsets
from db.ledger.generations import Generation, Stretch

MOST_DIFFERENCES = 100


@dataclass(slots=True)
class Proof:
    """What was looked at, and what did not fit; at most 100 sentences are kept, the others are counted."""

    first_offset: int = 0  # the oldest that was looked at
    cursor: int = 0
    reached: int = 0  # below it all is looked at; where a verification that was stopped goes on
    read: int = 0
    skipped: int = 0
    windows: int = 0
    unprovable: int = 0  # offsets whose window or batch id is no longer remembered
    differences: list[str] = field(default_factory=list)
    more_differences: int = 0
    generations: list[Generation] = field(default_factory=list)  # each time the stream was cut or replaced

    def differs(self, sentence: str) -> None:
        """Keep or count one difference."""
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences.append(sentence)
        else:
            self.more_differences += 1


class Covering:
    """The windows along the stream, slice by slice; notes every gap and overlap."""

    def __init__(self, proof: Proof, stretches: Sequence[Stretch]) -> None:
        """`stretches`: of the offsets from `proof.reached` on, in order."""
        self._proof = proof
        self._stretches = list(stretches)
        self._window_id: int | None = None  # reached in the first of the stretches that are left
        self._begun = False
        self._pruned = False  # once it is so, it stays so

    def enter(self, connection: Connection, customer_id: int, last: int) -> Sequence[WindowOffsets]:
        """The windows of the offsets from `proof.reached` to `last`, which are reached then."""
        found: list[WindowOffsets] = []
        while self._proof.reached <= last:
            stretch = self._stretches[0]
            upto = min(last, stretch.last)
            found += self._walk(connection, customer_id, stretch, upto)
            if upto == stretch.last:
                del self._stretches[0]
                self._window_id = None
        return found

    def _walk(
        self, connection: Connection, customer_id: int, stretch: Stretch, last: int
    ) -> Sequence[WindowOffsets]:
        """The windows of one generation, up to where the next one has the offsets."""
        proof, first = self._proof, self._proof.reached
        if self._window_id is None:
            self._window_id = db.accounting.coverage.start(connection, customer_id, stretch.generation, first)
        found = db.accounting.coverage.window_slice(
            connection, customer_id, stretch.generation, first, last, reached=self._window_id
        )
        windows = [_within(window, stretch) for window in found.windows]
        due = first
        for window in windows:
            begins = max(window.first_offset, first)
            if begins > due:
                self._gap(connection, customer_id, due, begins - 1)
            elif begins < due:
                proof.differs(
                    f"window {window.window_id} begins at {window.first_offset}, inside of the one before it"
                )
            if window.first_offset >= first or not self._begun:
                self._count(window)
            due = max(due, min(window.last_offset, last) + 1)
        if due <= last:
            self._gap(connection, customer_id, due, last)
        self._window_id = found.reached
        proof.reached = last + 1
        return windows

    def _gap(self, connection: Connection, customer_id: int, first: int, last: int) -> None:
        if not self._begun and self._has_pruned(connection, customer_id):
            self._proof.unprovable += last - first + 1
        else:
            self._proof.differs(f"offsets {first} to {last} lie in no window")

    def _has_pruned(self, connection: Connection, customer_id: int) -> bool:
        """Whether windows are only remembered as sums; counts those that are there until it is so."""
        self._pruned = self._pruned or bool(db.accounting.coverage.windows_pruned(connection, customer_id))
        return self._pruned

    def _count(self, window: WindowOffsets) -> None:
        self._begun = True
        self._proof.windows += 1
        worked_on = window.last_offset - window.first_offset + 1 - len(window.skipped)
        if window.batches is not None and worked_on != window.batches:
            self._proof.differs(
                f"window {window.window_id} books {window.batches} batches,"
                f" but {worked_on} of its offsets are not skipped"
            )


def _within(window: WindowOffsets, stretch: Stretch) -> WindowOffsets:
    """As much of the window as the stream still has."""
    if window.last_offset <= stretch.last:
        return window
    return replace(window, last_offset=stretch.last, batches=None)
