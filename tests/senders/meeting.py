"""One sender in one scenario, and what the matrix says of it."""

import pytest

from tests.senders.outcomes import DROPS, of, record, recorded
from tests.senders.senders import KnownSender
from tests.senders.sending import Customers
from tests.senders.setups import SetupMissing

PATIENCE_S = 8.0
"""A sender that sends again may give up when the receiver, on a busy machine, is away for longer."""


def meet(customers: Customers, sender: KnownSender, scenario: str) -> None:
    """Assert that each acknowledged event is counted once, no event twice, and the matrix is right.

    An index of packages that is away is no fault of ours: the test is skipped, which says why.
    """
    try:
        run = getattr(customers, scenario)(sender)
    except SetupMissing as missing:
        pytest.skip(str(missing))
    found = of(sender, scenario, run)
    assert scenario != "sizes" or found.outcome != DROPS
    places = ((one, (one.sender, one.scenario)) for one in recorded())
    expected = {one.outcome for one, place in places if place == (sender.name, scenario)}
    impatient = run.away_s > PATIENCE_S and expected != {DROPS}
    lucky = scenario == "restarted" and expected == {DROPS} and not run.given_up()
    if not impatient and not lucky:  # a lucky one sent nothing while the receiver was away
        assert expected <= {found.outcome}, "python -m tests.senders.outcomes write"
        record(found)
