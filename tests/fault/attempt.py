"""One try of a fault, from the first batch to the audit."""

from collections.abc import Callable
from functools import partial

from tests.fault.audit import RECOVERS_WITHIN_S, FaultAudit, audit, deposited, record, recovered, settle
from tests.fault.installation import Installation
from tests.fault.traffic import Traffic
from tests.whole import until

CUSTOMERS = 2
Fault = Callable[[Installation], None]


def attempt(
    installation: Installation, name: str, fault: Fault, *, keep: bool = True, customers: int = CUSTOMERS
) -> FaultAudit:
    """Let the fault happen under traffic, and fail when anything is lost, doubled or slow to come back.

    `fault` returns when it is over. The outcome is kept for the table unless told otherwise.
    """
    with Traffic(installation.whole.url, installation.customers(customers)) as traffic:
        for each in traffic.streams:
            until(partial(deposited, installation.engine, each.slug), f"the first deposit of {each.slug}")
        fault(installation)
        recovered_s = recovered(installation, traffic)
        settle(installation, traffic)
        outcome = audit(installation, traffic, fault=name, recovered_s=recovered_s)
    if keep:
        record(outcome)
    assert (outcome.lost, outcome.duplicated, outcome.differences) == (0, 0, []), outcome
    assert outcome.recovered_s <= RECOVERS_WITHIN_S, outcome
    return outcome
