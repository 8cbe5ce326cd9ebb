"""Checks of the processes: a dispatcher for all customers, workers for each queue. A beat has to change."""

import time
from collections.abc import Sequence
from typing import get_args

import db.ledger.leases
from db.accounting.measured import WorkerBeat, beats
from db.customers.routes import queue_name
from db.customers.rows import Customer, Stage
from db.ledger.workers import DISPATCHER, SILENT_S
from webapp.doctor.examined import Examined
from webapp.doctor.findings import CheckOutcome, fail, named, ok, warn

_LOOK_S = 0.5
_STAGES = get_args(Stage)


def dispatchers(examined: Examined) -> CheckOutcome:
    living = _living(examined, dispatch=True)
    if not living:
        return fail("none lives: batches are accepted and wait", "start `python -m tasks.dispatcher`")
    with examined.looked() as connection:
        held = {lease.customer_id: lease.holder for lease in db.ledger.leases.peek(connection)}
    names = {row.name.removeprefix(DISPATCHER) for row in living}
    served = [one for one in examined.customers if one.breaker_reason is None]
    unserved = [one.slug for one in served if held.get(one.id) not in names]
    if unserved:
        return warn(
            f"{len(living)} live, and nobody dispatches {named(unserved)}",
            "look again in a minute, then look in the dispatchers' logs",
        )
    return ok(f"{len(living)} live, for all {len(served):,} customers")


def workers(examined: Examined) -> CheckOutcome:
    living = _living(examined, dispatch=False)
    shared = sum(row.processes for row in living if not row.dedicated)
    dedicated = {queue for row in living if row.dedicated and row.processes for queue in row.queues}
    unserved = [] if shared else [one.slug for one in examined.customers if not _queues(one) <= dedicated]
    if unserved:
        return fail(
            f"nobody works for {named(unserved)}; workers that live: {len(living)}",
            "start `celery -A tasks worker`",
        )
    if not living:
        return warn("none lives, and there are no customers", "start `celery -A tasks worker`")
    return ok(f"{len(living)} live, {shared} processes for everybody, {len(dedicated)} dedicated queues")


def _queues(customer: Customer) -> set[str]:
    return {queue_name(customer.slug, stage, customer.routes) for stage in _STAGES}


def _living(examined: Examined, *, dispatch: bool) -> Sequence[WorkerBeat]:
    """Those whose beat changes while we look; one that stopped without a word has a row, too."""
    until = time.monotonic() + SILENT_S
    first = {row.name: row.beat for row in _rows(examined, dispatch)}
    living: dict[str, WorkerBeat] = {}
    while len(living) < len(first) and time.monotonic() < until:
        time.sleep(_LOOK_S)
        rows = _rows(examined, dispatch)
        living |= {row.name: row for row in rows if first.get(row.name) != row.beat}
        first = {row.name: first.get(row.name, -1) for row in rows}
    return list(living.values())


def _rows(examined: Examined, dispatch: bool) -> list[WorkerBeat]:
    with examined.looked() as connection:
        return [row for row in beats(connection) if row.dispatches is dispatch]
