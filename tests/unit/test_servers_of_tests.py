"""The servers that the tests start, and how the tests look at their processes."""

import subprocess
import threading

from tests import receiver as receivers

TIMES = 200


def test_a_process_that_is_reaped_while_it_is_looked_at_is_no_listener() -> None:
    for _ in range(TIMES):
        process = subprocess.Popen(["true"])
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        while reaper.is_alive():
            assert not receivers.listens_for_operators(process.pid)
        reaper.join()
