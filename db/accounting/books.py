"""The books: everything that the equation of a customer's batches and events needs, from one statement."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select, text

from db.retention.retired_partitions import rollups_left
from db.tables import folded, interactions, log_rollups, quarantine, rollups

_LEDGER = """
SELECT d.customer_id, d.next_offset, d.generation, d.base_offset, d.base_batches,
 d.batches, d.duplicates, d.reused, d.discarded, d.expired,
 COUNT(CASE WHEN w.state = 'dispatched' THEN 1 END) AS windows_in_flight,
 COALESCE(SUM(CASE WHEN w.state = 'dispatched' THEN w.batches END), 0) AS in_flight,
 f.windows + COUNT(CASE WHEN w.state = 'deposited' THEN 1 END) AS windows_deposited,
 f.batches + COALESCE(SUM(CASE WHEN w.state = 'deposited' THEN w.batches END), 0) AS closed,
 f.quarantined + COALESCE(SUM(w.quarantined), 0) AS unfit,
 f.decoded + COALESCE(SUM(w.decoded), 0) AS decoded,
 f.kept + COALESCE(SUM(w.kept), 0) AS kept,
 f.kept_logs + COALESCE(SUM(w.kept_logs), 0) AS kept_logs,
 f.dropped + COALESCE(SUM(w.dropped), 0) AS dropped,
 f.rejected + COALESCE(SUM(w.rejected), 0) AS rejected
FROM dispatch d JOIN folded f ON f.customer_id = d.customer_id
"""
_UNFOLDED = (
    "w.customer_id = d.customer_id AND w.id > f.upto_window_id AND w.state IN ('dispatched', 'deposited')"
)
# Both planners have to be told to go customer by customer through the index, past what is folded.
_WINDOWS = {
    "sqlite": f" LEFT JOIN windows w INDEXED BY ix_windows_customer_id_id ON {_UNFOLDED}",
    "postgresql": f" LEFT JOIN LATERAL (SELECT * FROM windows w WHERE {_UNFOLDED} OFFSET 0) w ON TRUE",  # noqa: S608
}
_GROUPED = " GROUP BY d.customer_id, f.customer_id ORDER BY d.customer_id"
_ALL = {dialect: text(_LEDGER + join + _GROUPED) for dialect, join in _WINDOWS.items()}
_ONE = {
    dialect: text(_LEDGER + join + " WHERE d.customer_id = :customer_id" + _GROUPED)
    for dialect, join in _WINDOWS.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCounts:
    """Batches: those that the cursor has passed, and what became of them. Events: of the deposited batches.

    The stream's `generation` began at `base_offset`, when `base_batches` had passed: since then offsets count
    batches. `quarantined` are whole batches: unfit ones of windows, and those that never came into one
    (`reused`). `kept_logs` are the log records among the kept events.
    """

    customer_id: int
    next_offset: int
    generation: int
    base_offset: int
    base_batches: int
    batches: int
    duplicates: int
    reused: int
    discarded: int
    expired: int
    quarantined: int
    windows_in_flight: int
    in_flight: int
    windows_deposited: int
    deposited: int
    decoded: int
    kept: int
    kept_logs: int
    dropped: int
    rejected: int

    def differences(self) -> list[str]:
        """A sentence for each equation that does not hold; empty when the books balance."""
        booked = (
            self.duplicates
            + self.discarded
            + self.expired
            + self.quarantined
            + self.in_flight
            + self.deposited
        )
        events = self.kept + self.dropped + self.rejected
        found = []
        if self.batches != booked:
            found.append(
                f"{self.batches} batches passed, but {booked} booked: {self.duplicates} duplicates +"
                f" {self.discarded} discarded + {self.expired} expired + {self.quarantined} quarantined +"
                f" {self.in_flight} in flight + {self.deposited} deposited"
            )
        offsets, passed = self.next_offset - self.base_offset, self.batches - self.base_batches
        if offsets != passed:
            found.append(
                f"the cursor moved from {self.base_offset} to {self.next_offset}, but {passed} batches passed"
            )
        if self.decoded != events:
            found.append(
                f"{self.decoded} events decoded, but {events} booked:"
                f" {self.kept} kept + {self.dropped} dropped + {self.rejected} rejected"
            )
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineCounts:
    """What became of quarantined rows. A replay is a new batch of the stream, and is counted there too."""

    kept: int  # those under replay included
    replayed: int
    discarded: int
    pruned: int

    @property
    def total(self) -> int:
        """All that ever came."""
        return self.kept + self.replayed + self.discarded + self.pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCounts:
    """Events that the result tables stand for, pruned rows included, and what came into quarantine.

    Each of the first two equals `LedgerCounts.kept` without `kept_logs`, and the third equals the latter, for
    a pipeline that composes, or rolls up, everything it keeps.
    """

    interactions: int
    rollups: int
    log_rollups: int
    quarantined: QuarantineCounts
    rejected: QuarantineCounts


def ledger(conn: Connection, customer_id: int) -> LedgerCounts:
    """Raises LookupError for no such customer."""
    row = conn.execute(_ONE[conn.dialect.name], {"customer_id": customer_id}).mappings().one_or_none()
    if row is None:
        raise LookupError(f"there is no customer {customer_id}")
    return _ledger(dict(row))


def ledgers(conn: Connection) -> dict[int, LedgerCounts]:
    """Of all customers, by id."""
    return {
        row["customer_id"]: _ledger(dict(row)) for row in conn.execute(_ALL[conn.dialect.name]).mappings()
    }


def results(conn: Connection, customer_id: int) -> ResultCounts:
    """Reads every result row of the customer, in minutes; under `read`, one snapshot with `ledger`.

    Under `db.retention.retired_partitions.none_dropped`, where partitions may be dropped meanwhile.
    """
    pruned = conn.execute(select(*folded.c).where(folded.c.customer_id == customer_id)).one()
    in_interactions = select(func.coalesce(func.sum(interactions.c.events), 0))
    in_rollups = select(func.coalesce(func.sum(rollups.c["count"]), 0))
    # COUNT(row) leaves out the nulls, which are whole batches.
    by_state = select(quarantine.c.state, func.count(), func.count(quarantine.c.row)).group_by(
        quarantine.c.state
    )
    batches, rejects = {}, {}
    for state, rows, events in conn.execute(by_state.where(quarantine.c.customer_id == customer_id)):
        batches[state], rejects[state] = rows - events, events
    composed = conn.execute(in_interactions.where(interactions.c.customer_id == customer_id)).scalar_one()
    counted = conn.execute(in_rollups.where(rollups.c.customer_id == customer_id)).scalar_one()
    counted += rollups_left(conn, customer_id)
    in_log_rollups = select(func.coalesce(func.sum(log_rollups.c["count"]), 0))
    logged = conn.execute(in_log_rollups.where(log_rollups.c.customer_id == customer_id)).scalar_one()
    logged += rollups_left(conn, customer_id, "log_rollups")
    return ResultCounts(
        log_rollups=pruned.pruned_log_rollups + int(logged),
        interactions=pruned.pruned_interactions + int(composed),
        rollups=pruned.pruned_rollups + int(counted),
        quarantined=_quarantine_counts(batches, pruned.pruned_quarantined_batches),
        rejected=_quarantine_counts(rejects, pruned.pruned_quarantined_events),
    )


def _quarantine_counts(by_state: dict[str, int], pruned: int) -> QuarantineCounts:
    replayed, discarded = by_state.get("replayed", 0), by_state.get("discarded", 0)
    kept = sum(by_state.values()) - replayed - discarded
    return QuarantineCounts(kept=kept, replayed=replayed, discarded=discarded, pruned=pruned)


def _ledger(row: dict[str, int]) -> LedgerCounts:
    counts = {name: int(value) for name, value in row.items()}
    closed, unfit = counts.pop("closed"), counts.pop("unfit")
    return LedgerCounts(**counts, deposited=closed - unfit, quarantined=unfit + counts["reused"])
