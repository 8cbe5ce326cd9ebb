"""A receiver that terminates TLS itself: gunicorn's `certfile` and `keyfile`."""

import contextlib
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import receiver as receivers
from tests.receiver import DEADLINE_S, Home, Receiver, until
from tests.served_loop import ServedLoop
from tests.slow import SlowAgent, answers, head
from webapp.serving.server import HANDSHAKE_S
from webapp.settings import HttpSettings

BODY = b'{"event": 1}\n'
LARGE = 3_000_000
BODY_S = 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Self-signed, with its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    made = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem "
    )
    made += "-out certificate.pem -subj /CN=receiver -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(made.split(), cwd=folder, check=True, capture_output=True, timeout=DEADLINE_S)
    return folder / "certificate.pem"


@pytest.fixture(scope="module")
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(scope="module")
def receiver(home: Home, certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    settings = {
        "GUNICORN_CMD_ARGS": f"--certfile {certificate} --keyfile {certificate.with_name('key.pem')}",
        "SLUICE_HTTP_WORKERS": "1",
        "SLUICE_HTTP_DRAIN_S": "0",
        "SLUICE_HTTP_BODY_DEADLINE_S": str(BODY_S),
    }
    with receivers.running(
        tmp_path_factory.mktemp("receiver"), {**home.environment, **settings}, ready=False
    ) as receiver:
        yield receiver
        stopped_beside_silence(receiver)


def stopped_beside_silence(receiver: Receiver) -> None:
    """Who speaks no TLS, or nothing at all, does not hold up a stop."""
    with SlowAgent(receiver.port) as silent, SlowAgent(receiver.port) as plain:
        connected_at = time.monotonic()
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answers(plain, 1) == []
        receiver.process.terminate()
        assert answers(silent, 1) == []
        assert time.monotonic() - connected_at < HANDSHAKE_S - 1
    assert receiver.process.wait(DEADLINE_S) == 0
    assert "Traceback" not in receiver.log.read_text()


@pytest.fixture(scope="module")
def agent(receiver: Receiver, trusting: ssl.SSLContext) -> Iterator[httpx.Client]:
    url = f"https://127.0.0.1:{receiver.port}"
    with httpx.Client(base_url=url, verify=trusting, timeout=DEADLINE_S, trust_env=False) as client:

        def ready() -> bool:
            try:
                return client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, f"the receiver ({receiver.log})")
        yield client


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("over-tls")


def connected(receiver: Receiver | ServedLoop, trusting: ssl.SSLContext) -> ssl.SSLSocket:
    return trusting.wrap_socket(SlowAgent(receiver.port), server_hostname="127.0.0.1")


def test_batches_are_accepted_on_one_connection(home: Home, agent: httpx.Client, key: str) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/x-ndjson"}
    bodies = [BODY, bytes(LARGE), BODY * 2, b"x" * LARGE]
    for body in bodies:
        assert agent.post("/v1/batches", content=body, headers=headers).status_code == 202
    assert [bytes(one.body) for one in home.envelopes("over-tls")] == bodies


def test_a_refused_head_is_answered_before_its_body_comes(
    receiver: Receiver, agent: httpx.Client, trusting: ssl.SSLContext
) -> None:
    with connected(receiver, trusting) as stranger:
        stranger.sendall(head(None, f"Content-Length: {LARGE}"))
        # And the connection ends.
        assert answers(stranger, 2) == [401]


def test_a_body_that_does_not_come_is_given_up(
    receiver: Receiver, agent: httpx.Client, trusting: ssl.SSLContext, key: str
) -> None:
    with connected(receiver, trusting) as slow:
        slow.sendall(head(key, f"Content-Length: {LARGE}") + bytes(LARGE // 2))
        assert agent.get("/healthz").status_code == 200
        assert answers(slow, 2) == [408]


def test_little_is_read_ahead_of_a_connection_that_is_not_read(
    home: Home, certificate: Path, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, certificate.with_name("key.pem"))
    served = ServedLoop(HttpSettings(key_wait_s=30), tls=tls)
    try:
        with connected(served, trusting) as agent:
            shared = served.server._shared
            until(lambda: shared._heads, "the connection")
            [connection] = shared._heads
            shared.loop.call_soon_threadsafe(connection.transport.pause_reading)
            until(lambda: not connection.transport.is_reading(), "it to be paused")
            agent.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                agent.sendall(bytes(LARGE))
            encrypted = vars(connection.transport)["_ssl_protocol"]
            until(lambda: encrypted._ssl_reading_paused, "enough to be there")
            assert encrypted._get_read_buffer_size() < 128 * 1024
    finally:
        served.stop()
