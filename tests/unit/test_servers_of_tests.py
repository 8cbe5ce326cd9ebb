"""The servers that the tests start, and how the tests look at their processes."""

import signal
import subprocess
import sys
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


def test_a_server_that_does_not_stop_is_killed_with_its_children() -> None:
    deaf = (
        "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "os.fork() or signal.pause(); print(os.getpid(), flush=True); signal.pause()"
    )
    server = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True)
    assert server.stdout is not None
    with server.stdout as said:
        assert said.readline()
        receivers.stop(server, within_s=0.1)
        assert said.read() == b"", "the child holds the other end as long as it lives"
    assert server.returncode == -signal.SIGKILL
