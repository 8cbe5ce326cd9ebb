"""Mechanisms that can be taken out of a process, to see that the suite notices: FAULT_WITHOUT=<name>."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

from psycopg import IntegrityError

Wrap = Callable[[ModuleType], None]


def _answer_without_confirm(module: ModuleType) -> None:
    """202 as soon as the batch is on its way."""
    confirms: Any = module
    confirms.ConfirmWaiter.wait = lambda *_: None
    begin = confirms.ConfirmCall.__init__

    def at_once(self: Any, stream: str, done: Any, loop: Any) -> None:
        begin(self, stream, lambda error: None, loop)
        loop.call_soon(done, None)

    confirms.ConfirmCall.__init__ = at_once


def _dispatch_without_comparing(module: ModuleType) -> None:
    """The cursor is set, wherever it is and whoever leads; the key of the batch ids says nothing either."""
    dispatch: Any = module
    table = dispatch.dispatch
    anywhere = dispatch.update(table).where(table.c.customer_id == dispatch.bindparam("of"))
    edge = dispatch.bindparam("new_edge")
    moved = anywhere.values(next_offset=dispatch.bindparam("after"), edge=edge, **dispatch._MORE)
    # Parameters are compared with themselves only: the caller gives them all.
    dispatch._MOVE = moved.where(
        dispatch.bindparam("in_epoch") == dispatch.bindparam("in_epoch"),
        dispatch.bindparam("before") == dispatch.bindparam("before"),
    )
    dispatch._goes_at_once = lambda _: False
    plain = dispatch._insert_batches

    def insert(conn: Any, *arguments: Any) -> None:
        with suppress(IntegrityError), conn.begin_nested():
            plain(conn, *arguments)

    dispatch._insert_batches = insert


def _dispatch_without_known_ids(module: ModuleType) -> None:
    """Every batch is new."""
    dispatch: Any = module
    dispatch.known = lambda _, ids: {of: {} for of in ids}


def _never_ring_again(module: ModuleType) -> None:
    """A chain that is lost stays lost."""
    doorbells: Any = module
    doorbells.Doorbells.ring_stale = lambda *_: None


def _deposit_without_ledger(module: ModuleType) -> None:
    """Every result that a deposit finds is written, whether its window is open or not."""
    tasks_deposit: Any = module
    deposits: Any = tasks_deposit.db.ledger.deposits
    # The first condition, or the last one, asks that the window is open.
    for reads in (deposits._UNDEPOSITED, deposits._OWN_UNDEPOSITED):
        reads._where_criteria = reads._where_criteria[1:]
    for writes in (deposits._CLOSE, deposits._CLOSED):
        writes._where_criteria = writes._where_criteria[:-1]


MUTANTS: Mapping[str, Mapping[str, Wrap]] = {
    "confirm": {"streams.publishing.confirms": _answer_without_confirm},
    "compare-and-set of the dispatch": {"db.ledger.dispatch": _dispatch_without_comparing},
    "memory of batch ids": {"db.ledger.dispatch": _dispatch_without_known_ids},
    "ringing again": {"tasks.dispatcher.doorbells": _never_ring_again},
    "ledger of the deposits": {"tasks.stages.deposit": _deposit_without_ledger},
}
