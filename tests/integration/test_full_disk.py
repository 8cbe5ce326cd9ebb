"""A full disk below everything that a receiver writes: metrics and logs go, batches and health do not."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests import receiver as receivers
from tests.receiver import Home, Receiver, until

BODY = b'{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}\n'
POSTS = 50
# In a namespace of its own, so that the file system goes with its last process; a user is root in it.
NAMESPACE = (
    ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")
)
FILLED = """
mount -t tmpfs -o size=64k tmpfs "$0"
dd if=/dev/zero of="$0/filling" bs=4k status=none 2>/dev/null && exit 9
exec "$@" >"$0/log" 2>&1
"""


def full(folder: Path) -> tuple[Sequence[str], str]:
    """What to start a command within, and the folder that is full for it: a small file system, or where
    none may be mounted, output that is refused.
    """
    folder.mkdir()
    if subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False
    ).returncode:
        return ("sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh"), "/dev/full"
    return (*NAMESPACE, "sh", "-c", FILLED, str(folder)), str(folder)


def test_with_a_full_disk_every_batch_is_taken_and_counted_and_workers_live(
    home: Home, slug: str, tmp_path: Path
) -> None:
    key = home.add(slug)
    within, folder = full(tmp_path / "full")
    environment = {**home.environment, "TMPDIR": folder}
    with receivers.running(tmp_path, environment, within=within) as receiver:
        workers = receiver.workers()
        assert {receiver.post(key, BODY).status_code for _ in range(POSTS)} == {202}
        # Whatever is refused, and said in the log, is answered as ever.
        assert receiver.post("no-key", BODY).status_code == 401
        assert receiver.get("/healthz").status_code == 200
        assert receiver.workers() == workers
        line = f'sluice_http_batches_total{{customer="{slug}",outcome="accepted"}} {POSTS}.0'
        assert line in receiver.metrics()
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len({*receiver.workers()} - {workers[0]}) == 2, "another worker")
        until(receiver.ready, "the receiver")
        assert receiver.post(key, BODY).status_code == 202
    assert len(home.envelopes(slug)) == POSTS + 1


def test_a_log_on_a_full_disk_changes_no_answer(home: Home, slug: str, tmp_path: Path) -> None:
    """The broker's silence is what a request logs."""
    key = home.add(slug)
    environment = {**home.environment, "STREAM_URL": "rabbitmq-stream://guest:guest@127.0.0.1:1/"}
    with receivers.running(tmp_path, environment, ready=False, log=Path("/dev/full")) as receiver:
        until(lambda: alive(receiver), "the receiver")
        answer = receiver.post(key, BODY)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
        assert receiver.get("/healthz").status_code == 200


def alive(receiver: Receiver) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return receiver.get("/healthz").status_code == 200
    return False
