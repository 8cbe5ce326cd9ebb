"""The suite notices when a mechanism that keeps a promise is taken out."""

import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests.fault.attempt import attempt
from tests.fault.installation import Installation, installed, wait_gone
from tests.fault.mutants import MUTANTS
from tests.fault.servers import kill_broker, start_broker
from tests.fault.traffic import RETRY

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
RUNG_AGAIN_S = 40.0
AGENT_GIVES_UP_S = RETRY.timeout_s + 5.0  # and sends again, too late for the same window
Fault = Callable[[Installation, RabbitNode], None]


def _broker_dies(_: Installation, node: RabbitNode) -> None:
    kill_broker(node.folder)
    start_broker(node.folder)


def _dies_at(point: str) -> Fault:
    def fault(installation: Installation, _: RabbitNode) -> None:
        installation.arm(point, SIGKILL)
        wait_gone(installation.fired(point), point)

    return fault


def _stands_still_at(point: str, seconds: float) -> Fault:
    def fault(installation: Installation, _: RabbitNode) -> None:
        installation.arm(point, SIGSTOP)
        pid = installation.fired(point)
        time.sleep(seconds)
        installation.kill(pid, SIGCONT)

    return fault


def _two_lead(installation: Installation, _: RabbitNode) -> None:
    installation.start("second", "dispatcher")
    installation.arm("dispatch-before", SIGSTOP)
    pid = installation.fired("dispatch-before")
    installation.superseded(pid)
    installation.kill(pid, SIGCONT)


FAULTS: dict[str, Fault] = {
    "confirm": _broker_dies,
    "compare-and-set of the dispatch": _two_lead,
    "memory of batch ids": _stands_still_at("publish-after", AGENT_GIVES_UP_S),
    "ringing again": _dies_at("ring-before"),
    "ledger of the deposits": _stands_still_at("decode-unhanded", RUNG_AGAIN_S),
}


@pytest.mark.parametrize("mechanism", MUTANTS)
def test_a_mechanism_that_is_taken_out_is_noticed(
    tmp_path: Path, node: RabbitNode, postgresql_url: str, mechanism: str
) -> None:
    with installed(
        tmp_path,
        database_url=postgresql_url,
        amqp_url=node.amqp_url,
        stream_url=node.stream_url,
        FAULT_WITHOUT=mechanism,
    ) as found:
        fault = FAULTS[mechanism]
        with pytest.raises(AssertionError) as noticed:
            attempt(found, f"without {mechanism}", lambda one: fault(one, node), keep=False)
    print(f"without {mechanism}: {str(noticed.value)[:2000]}")
