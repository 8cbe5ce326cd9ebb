"""Agents that announce bodies and do not send them, beside agents that do."""

import contextlib
import time

import pytest

from tests.fault.attempt import attempt
from tests.fault.installation import Installation
from tests.slow import SlowAgent, answers, crowd, head

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

CROWD = 2_000
LASTING_S = 15.0


def test_slow_bodies_cost_no_batch_a_second_try(installation: Installation) -> None:
    [(_, key)] = installation.customers(1).items()
    port = installation.whole.port

    def fault(_: Installation) -> None:
        until = time.monotonic() + LASTING_S
        with crowd(port, CROWD) as slow, crowd(port, CROWD) as strangers:
            for agent in slow:
                agent.sendall(head(key, "Content-Length: 100000"))
            while time.monotonic() < until:
                for agent in strangers:
                    agent.sendall(head(None, "Content-Length: 1000"))
                for agent in slow:
                    # It may have been refused as too slow.
                    with contextlib.suppress(ConnectionError):
                        agent.send(b"x")
                for at, agent in enumerate(strangers):
                    assert answers(agent, 1) == [401]
                    agent.close()
                    strangers[at] = SlowAgent(port)
            for agent in strangers:
                agent.close()

    name = f"{CROWD:,} slow bodies and {CROWD:,} absent ones × {LASTING_S:.0f} s"
    outcome = attempt(installation, name, fault)
    assert outcome.requests == outcome.batches, "an agent had to come again"
