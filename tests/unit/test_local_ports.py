"""A port that somebody was given is given to nobody else before a server listens on it."""

import subprocess
import sys

import pytest

from deploy.local import ports
from tests.whole import ROOT

ASKED = """
import random, sys
from deploy.local import ports
tried = iter(map(int, sys.argv[1:]))
random.randrange = lambda *_: next(tried)
print(*ports.free(1))
"""


def test_a_port_that_was_found_is_found_by_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other, last = ports.free(3)
    ports._found.pop().close()  # nobody has the last one any more
    tried = iter([mine, other, last])
    monkeypatch.setattr("random.randrange", lambda *_: next(tried))
    assert ports.free(1) == [last]
    ports._found.pop().close()
    command = [sys.executable, "-c", ASKED, str(mine), str(other), str(last)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.split() == [str(last)]


def test_of_many_ports_only_the_last_are_held() -> None:
    for _ in range(30):
        ports.free(10)
    assert len(ports._found) == ports._found.maxlen
