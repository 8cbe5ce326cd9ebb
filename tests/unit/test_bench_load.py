"""The load generator against a small server of its own, its batches, and the account of processes."""

import hashlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from bench.load.generator import Generator, running
from bench.load.posting import Target
from bench.load.workload import Kind, Source
from bench.measuring import account


class FakeReceiver(http.server.ThreadingHTTPServer):
    """Takes batches; refuses the first `busy` with 503; closes connections that have served `patience`."""

    daemon_threads = True
    # A burst of connections must not wait for a retransmission.
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.taken: dict[str, str] = {}
        self.answers = 0
        self.busy = 0
        self.patience = 10**9
        self.lock = threading.Lock()


class FakeHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeReceiver
    served = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.answers += 1
            refused = self.server.answers <= self.server.busy
            if not refused:
                self.server.taken[self.headers["Idempotency-Key"]] = hashlib.sha256(body).hexdigest()
        self.send_response(503 if refused else 202)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.served += 1
        # Without a word, as a server does that has kept a connection for long enough.
        self.close_connection = self.served >= self.server.patience

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[FakeReceiver]:
    server = FakeReceiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def generator() -> Iterator[Generator]:
    with running() as generator:
        yield generator


def post(generator: Generator, receiver: FakeReceiver, **how: Any) -> dict[str, Any]:
    generator.post([Target(host="127.0.0.1", port=receiver.server_port)], connections=4, **how)
    return answered(generator)


def answered(generator: Generator) -> dict[str, Any]:
    answer = generator.answered(30.0)
    assert answer is not None
    return answer


def test_every_prepared_batch_is_posted_once(generator: Generator, receiver: FakeReceiver) -> None:
    generator.prepare(Kind(events=50), 30)
    answer = post(generator, receiver, batches=30)
    assert answer["accepted"] == len(receiver.taken) == len(set(receiver.taken.values())) == 30
    assert answer["events"] == 1_500
    assert not answer["problems"]


def test_a_refused_batch_is_posted_again_under_its_id(generator: Generator, receiver: FakeReceiver) -> None:
    receiver.busy = 2
    generator.prepare(Kind(events=50), 5)
    answer = post(generator, receiver, batches=5)
    assert answer["accepted"] == len(receiver.taken) == 5
    assert answer["retried"] == 2


def test_a_connection_that_the_server_no_longer_keeps_is_opened_again(
    generator: Generator, receiver: FakeReceiver
) -> None:
    receiver.patience = 3
    generator.prepare(Kind(events=50), 40)
    answer = post(generator, receiver, batches=40)
    assert answer["accepted"] == len(receiver.taken) == 40
    assert not answer["problems"]


def test_no_more_events_wait_than_the_headroom_allows(generator: Generator, receiver: FakeReceiver) -> None:
    generator.prepare(Kind(events=50), 20)
    generator.post(
        [Target(host="127.0.0.1", port=receiver.server_port)], connections=4, batches=20, headroom=200
    )
    assert generator.answered(0.5) is None
    assert len(receiver.taken) == 4
    generator.committed(200)
    assert generator.answered(0.5) is None
    assert len(receiver.taken) == 8
    generator.stop()
    assert answered(generator)["accepted"] == 8


def test_a_rate_is_kept(generator: Generator, receiver: FakeReceiver) -> None:
    generator.prepare(Kind(events=50), 100)
    began = time.monotonic()
    answer = post(generator, receiver, batches=11, events_per_s=500.0)
    assert answer["accepted"] == 11
    assert time.monotonic() - began >= 1.0


def ids(table: pa.Table, name: str) -> set[bytes]:
    return set(table[name].drop_null().to_pylist())


def test_no_trace_comes_twice_and_spans_keep_their_parents() -> None:
    source = Source(Kind(), pool_events=2_000)
    first, second = source.table(), source.table()
    assert not ids(first, "trace_id") & ids(second, "trace_id")
    assert not ids(first, "span_id") & ids(second, "span_id")
    for table in (first, second):
        assert ids(table, "parent_id") <= ids(table, "span_id")
    assert first["operation"].equals(second["operation"])


def test_the_account_of_a_process_holds_its_children_living_and_gone() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burn!r} + '\\ninput()'], stdin=subprocess.PIPE)\n"
        "print('begun', flush=True)\ninput()\nchild.communicate(b'x')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        deadline = time.monotonic() + 30
        while account.used([process.pid]).cpu_s < 0.55 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert account.used([process.pid]).cpu_s >= 0.55
        assert account.peak_memory(process.pid) > 1_000_000
    finally:
        process.communicate("x\n", timeout=30)


def test_the_account_of_a_process_that_is_gone_is_empty() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait(30)
    assert account.used([process.pid]) == account.Used()
    assert account.peak_memory(process.pid) == 0
