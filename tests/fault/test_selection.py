"""The faults that `make test` tries: one installation, one fault after another. The rest is `make fault`."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests.fault.attempt import attempt
from tests.fault.installation import Installation, installed, wait_gone
from tests.fault.servers import kill_broker, start_broker

DIES_AT = (
    *("publish-after", "dispatch-uncommitted", "ring-before"),
    *("decode-unhanded", "process-published", "deposit-uncommitted"),
)


@pytest.fixture
def quick(tmp_path: Path, node: RabbitNode, postgresql_url: str) -> Iterator[Installation]:
    """What was lost is rung again sooner here than users wait."""
    with installed(
        tmp_path,
        database_url=postgresql_url,
        amqp_url=node.amqp_url,
        stream_url=node.stream_url,
        SLUICE_TASK_STALE_AFTER_S="3",
    ) as found:
        yield found


def test_nothing_is_lost_and_nothing_counted_twice_whoever_dies(
    quick: Installation, node: RabbitNode
) -> None:
    def dies_at(point: str) -> None:
        quick.arm(point, SIGKILL)
        wait_gone(quick.fired(point), f"the process at {point}")

    def points(_: Installation) -> None:
        for point in DIES_AT:
            dies_at(point)

    def servers_and_all_asked_to_end(_: Installation) -> None:
        kill_broker(node.folder)
        start_broker(node.folder)
        for name in ("receiver", "dispatcher", "worker"):
            wait_gone(quick.signal(name, SIGTERM), name)

    attempt(quick, "selection: points × SIGKILL", points)
    attempt(quick, "selection: broker × SIGKILL, then all × SIGTERM", servers_and_all_asked_to_end)
