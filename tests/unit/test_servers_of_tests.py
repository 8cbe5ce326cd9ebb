"""The servers that the tests start, and how the tests look at their processes."""

import subprocess
import threading
from pathlib import Path

import pytest

from tests import receiver as receivers
from tests.whole import Whole

TIMES = 200
FIRST_EPHEMERAL = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def test_a_process_that_is_reaped_while_it_is_looked_at_is_no_listener() -> None:
    for _ in range(TIMES):
        process = subprocess.Popen(["true"])
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        while reaper.is_alive():
            assert not receivers.listens_for_operators(process.pid)
        reaper.join()


@pytest.mark.skipif(FIRST_EPHEMERAL <= 12_000, reason="no port below those of outgoing connections is left")
def test_a_whole_listens_where_no_outgoing_connection_begins(tmp_path: Path) -> None:
    for _ in range(TIMES):
        whole = Whole(folder=tmp_path, environment={})
        assert whole.port != whole.operators_port
        assert max(whole.port, whole.operators_port) < FIRST_EPHEMERAL
