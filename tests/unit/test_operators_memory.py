"""Numbers in memory that several processes share."""

import os
import subprocess
import sys
from pathlib import Path

from operators.memory import Memory

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from operators.memory import Memory
lane = Memory.of(int(sys.argv[1])).take()
cell = lane.cell(b"count")
print("begun", flush=True)
for value in range(1, 1_000_000):
    lane.set(cell, float(value))
"""


def test_a_reader_sees_a_number_never_go_back_while_it_is_written() -> None:
    memory = Memory(lanes=1, lane_bytes=4096)
    command = [sys.executable, "-c", WRITER, str(memory.file)]
    writer = subprocess.Popen(command, cwd=ROOT, pass_fds=[memory.file], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    with writer, writer.stdout:
        assert writer.stdout.readline() == b"begun\n"
        [lane] = memory.lanes()
        cell, last = lane.cell(b"count"), 0.0
        assert cell is not None
        while writer.poll() is None:
            for _ in range(1_000):
                value, _set_at_s = lane.get(cell)
                assert value >= last
                last = value
    assert writer.returncode == os.EX_OK
