"""Programs that post Arrow and NDJSON, and what stands between a sender and the receiver."""

import pytest

from tests.senders.meeting import meet
from tests.senders.outcomes import SCENARIOS
from tests.senders.senders import OTHERS, KnownSender
from tests.senders.sending import Customers

pytestmark = pytest.mark.senders


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("sender", OTHERS, ids=lambda sender: sender.key())
def test_what_a_sender_is_told_is_kept_is_counted_once(
    customers: Customers, sender: KnownSender, scenario: str
) -> None:
    meet(customers, sender, scenario)
