"""Unmodified OpenTelemetry SDKs, old and new: every event that they are told is kept is counted once."""

import pytest

from tests.senders.meeting import meet
from tests.senders.outcomes import SCENARIOS
from tests.senders.senders import SDKS, KnownSender
from tests.senders.sending import Customers


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("sender", SDKS, ids=lambda sender: sender.key())
def test_what_an_sdk_is_told_is_kept_is_counted_once(
    customers: Customers, sender: KnownSender, scenario: str
) -> None:
    meet(customers, sender, scenario)
