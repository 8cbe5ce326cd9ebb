"""How the processes of the workers are shared: who may have another window in flight. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """A customer with batches that wait or windows in flight. `pool` names the workers that serve it."""

    customer_id: int
    pool: str
    in_flight: int  # windows
    waits_since_s: float | None  # when its oldest waiting batch was seen, monotonic; None: nothing waits
    backlogged: bool = False  # more waits than one window holds
    groups: frozenset[int] = frozenset()  # that its windows in flight share with those of others


@dataclass(kw_only=True)
class Shares:
    """One round's shares of each pool's `limits` (windows in flight by pool).

    A pool's windows are split evenly over its busy customers, at least one each; a quiet customer's first
    window need not wait for a busy one's to end. Those with a backlog leave one process to those without,
    whose tasks would wait for the long ones of large windows; and these have one window each, so that on the
    process that is left theirs do not wait for each other. With more busy customers than windows they take
    turns, the longest waiting first: the others' windows grow meanwhile, so that the cost of an event falls.
    A group of windows counts as one.
    """

    limits: Mapping[str, int]
    processes: Mapping[str, int]  # of the workers, by pool
    most: int  # windows in flight of one customer, however many processes there are
    _in_flight: dict[str, int] = field(default_factory=dict)
    _busy: dict[str, int] = field(default_factory=dict)
    _keeping_up: dict[str, int] = field(default_factory=dict)  # busy customers without a backlog, by pool
    _large: dict[str, int] = field(default_factory=dict)  # windows in flight of those with one
    _own: dict[int, Busy] = field(default_factory=dict)

    @classmethod
    def of(
        cls, busy: Sequence[Busy], processes: Mapping[str, int], *, per_process: int, most: int
    ) -> "Shares":
        shares = cls(limits=limits(processes, per_process=per_process), processes=processes, most=most)
        for one in busy:
            shares._keeping_up[one.pool] = shares._keeping_up.get(one.pool, 0) + (not one.backlogged)
            shares._large[one.pool] = shares._large.get(one.pool, 0) + one.in_flight * one.backlogged
            shares._own[one.customer_id] = one
            shares._busy[one.pool] = shares._busy.get(one.pool, 0) + 1
            own = one.in_flight - len(one.groups)
            shares._in_flight[one.pool] = shares._in_flight.get(one.pool, 0) + own
        for pool, _ in {(one.pool, group) for one in busy for group in one.groups}:
            shares._in_flight[pool] += 1
        return shares

    def longest_waiting_first(self) -> list[int]:
        """The customers with waiting batches, the longest waiting first."""
        waiting = [(one.waits_since_s, one.customer_id) for one in self._own.values()]
        return [customer for _, customer in sorted((at, who) for at, who in waiting if at is not None)]

    def may_go(self, customer_id: int) -> bool:
        """Whether the customer may have one more window in flight."""
        one = self._own[customer_id]
        limit, busy = self.limits[one.pool], self._busy[one.pool]
        if one.in_flight >= min(self.most, max(1, limit // busy)):
            return False
        keeping_up = self._keeping_up[one.pool]
        if 0 < keeping_up < busy:  # some keep up, some do not
            if one.backlogged:
                return self._large[one.pool] < max(1, self.processes[one.pool] - 1)
            if one.in_flight:
                return False
        return self._in_flight[one.pool] < limit or (one.in_flight == 0 and busy <= limit)

    def goes(self, customer_id: int) -> None:
        """One more window of the customer is in flight in what is left of this round."""
        one = self._own[customer_id]
        self._in_flight[one.pool] += 1
        self._large[one.pool] += one.backlogged

    def contenders(self, customer_id: int) -> int:
        """Busy customers that share processes with it, itself included; those who keep up have one apart."""
        one = self._own[customer_id]
        return self._busy[one.pool] if one.backlogged else self._keeping_up[one.pool]


def limits(processes: Mapping[str, int], *, per_process: int) -> dict[str, int]:
    """Windows in flight by pool: enough to keep its processes busy, no more; two where none is known."""
    return {pool: max(2, per_process * count) for pool, count in processes.items()}
