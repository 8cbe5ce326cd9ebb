"""Whether a batch fits into its customer's limits, decided before its body is read."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from webapp import problems
from webapp.limits.customer_meter import CustomerMeter
from webapp.limits.day_sync import DaySync
from webapp.limits.leaky_bucket import wait_s
from webapp.limits.meters import Meters
from webapp.limits.wishes import NONE, Wishes, all_of, of_day, of_rate
from webapp.metrics import CustomerCounts
from webapp.problems import Problem, ProblemType

if TYPE_CHECKING:
    from collections.abc import Collection

    from db.customers.rows import Customer, Limit

MIDNIGHT_SPREAD_S = 60
"""Agents whose quota begins anew come back within so many seconds after midnight UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A batch that was let in and is not answered yet. `size` is what was reserved for it, in bytes;
    `announced` says whether that is its length, `under_way` whether it counts until its end. `wishes` are
    for the agent.
    """

    customer: "Customer"
    size: int
    announced: bool
    under_way: bool
    wishes: Wishes = NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    limit: "Limit"
    kind: ProblemType
    wait_s: float


class Limits:
    """Thread-safe, one per process; the counts are shared by the processes of a receiver.

    `receivers`: so many share each customer; each lets in its part of the rates. `later_s`: the seconds,
    least and most, that agents are asked to wait where nothing better is known.
    """

    def __init__(
        self,
        meters: Meters[CustomerMeter],
        usage: DaySync[CustomerMeter],
        counts: CustomerCounts,
        *,
        receivers: int,
        later_s: tuple[int, int],
    ) -> None:
        self._meters = meters
        self._usage = usage
        self._counts = counts
        self._receivers = receivers
        self._later_s = later_s

    def admit(self, customer: "Customer", length: int | None, most: int) -> Admission | None:
        """Let a batch in, and count it; None when its end changes nothing.

        A body that came without a length counts as `most` bytes until it was read. Raises Problem (429) when
        a limit is reached: then nothing was counted.
        """
        if (
            customer.bytes_per_second is None
            and customer.batches_per_second is None
            and customer.concurrent_requests is None
            and customer.daily_bytes is None
        ):
            return None
        size = most if length is None else length
        under_way = customer.concurrent_requests is not None or customer.daily_bytes is not None
        with self._meters.open(customer.id, self._usage.today(), under_way=under_way) as meter:
            meter.advance(
                time.monotonic(),
                self._part(customer.bytes_per_second),
                self._part(customer.batches_per_second),
            )
            refusal = self._refusal(customer, meter, size)
            if refusal is None:
                meter.bytes_spent += size
                meter.batches_spent += 1
                if under_way:
                    meter.requests += 1
                    meter.held += size
                wishes = self._wishes(customer, meter, length, size)
        if refusal is not None:
            raise self._problem(customer, refusal)
        if length is not None and not under_way and wishes is NONE:
            return None
        return Admission(
            customer=customer,
            size=size,
            announced=length is not None,
            under_way=under_way,
            wishes=wishes,
        )

    def end(self, admission: Admission, accepted: int | None) -> None:
        """The batch is answered: so many bytes of it were accepted, None when it was refused after all."""
        if admission.announced and not admission.under_way:
            return
        with self._meters.open(admission.customer.id, self._usage.today()) as meter:
            if admission.under_way:
                meter.requests -= 1
                meter.held -= admission.size
            if accepted is not None:
                meter.used += accepted
                if not admission.announced:
                    meter.bytes_spent = max(0.0, meter.bytes_spent - (admission.size - accepted))
        if accepted is not None and admission.customer.daily_bytes is not None:
            self._usage.changed(admission.customer.id)

    def learn(self, connection: Connection, customers: "Collection[Customer]") -> None:
        """They were looked up: learn what other receivers accepted, and show their limits as metrics."""
        with_quota = [customer.id for customer in customers if customer.daily_bytes is not None]
        meters = self._usage.learn(connection, with_quota)
        for customer in customers:
            meter = meters.get(customer.id)
            self._counts.show(customer, None if meter is None else meter.used + meter.others)

    def learned(self, customer: "Customer") -> bool:
        """Whether what it may still send in the day is known, if that is limited."""
        if customer.daily_bytes is None:
            return True
        meter = self._meters.look(customer.id)
        return meter is not None and bool(meter.learned)

    def close(self) -> None:
        """Write what counts against quotas."""
        self._usage.close()

    def _part(self, rate: int | None) -> float | None:
        return None if rate is None else rate / self._receivers

    def _refusal(self, customer: "Customer", meter: CustomerMeter, size: int) -> _Refusal | None:
        """Of several limits that are reached the one that will be for longest."""
        quota, concurrent = customer.daily_bytes, customer.concurrent_requests
        if quota is not None:
            # A batch that is larger than the quota is a day's first.
            rest = quota - meter.others - meter.used - min(size, quota)
            if rest < meter.held:
                wait = self._usage.left_s() if rest < 0 else 0.0
                return _Refusal(limit="daily_bytes", kind=problems.QUOTA_USED_UP, wait_s=wait)
        waits: list[_Refusal] = []
        if rate := self._part(customer.bytes_per_second):
            wait = wait_s(meter.bytes_spent, rate, size)
            waits.append(_Refusal(limit="bytes_per_second", kind=problems.TOO_MANY_BYTES, wait_s=wait))
        if rate := self._part(customer.batches_per_second):
            wait = wait_s(meter.batches_spent, rate, 1)
            waits.append(_Refusal(limit="batches_per_second", kind=problems.TOO_MANY_BATCHES, wait_s=wait))
        longest = max(waits, key=lambda one: one.wait_s, default=None)
        if longest is not None and longest.wait_s > 0:
            return longest
        if concurrent is not None and meter.requests >= max(1, concurrent // self._receivers):
            return _Refusal(limit="concurrent_requests", kind=problems.TOO_MANY_REQUESTS, wait_s=0)
        return None

    def _wishes(
        self, customer: "Customer", meter: CustomerMeter, length: int | None, reserved: int
    ) -> Wishes:
        """Of each limit that the customer is near to, by what was sent and not what is only `reserved`."""
        found = []
        if (rate := self._part(customer.bytes_per_second)) is not None:
            spent = meter.bytes_spent - (reserved if length is None else 0)
            found.append(of_rate(spent, rate, bytes_=True))
        if (rate := self._part(customer.batches_per_second)) is not None:
            found.append(of_rate(meter.batches_spent, rate, bytes_=False))
        if (quota := customer.daily_bytes) is not None:
            used = meter.others + meter.used + (length or 0)
            found.append(of_day(used, quota, length, self._usage.left_s(), bytes_=True))
        return all_of(found)

    def _problem(self, customer: "Customer", refusal: _Refusal) -> Problem:
        self._counts.limited(customer.slug, refusal.limit)
        least_s, most_s = self._later_s
        if refusal.limit == "daily_bytes" and refusal.wait_s:
            most_s = MIDNIGHT_SPREAD_S
        allowed = getattr(customer, refusal.limit)
        return problems.later(
            refusal.kind,
            f"{refusal.limit} of this customer is {allowed}; the batch was not kept",
            least_s=max(least_s, refusal.wait_s),
            most_s=refusal.wait_s + most_s,
            members={"kept": False, "limit": refusal.limit, "allowed": allowed},
        )
