"""The operators' address: what it says, and that neither it nor its readers can hold reception up."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from deploy.local import ports
from tests import receiver as receivers
from tests.receiver import Home, Receiver, until

BODY = b'{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}\n'


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_it_says_of_health_what_the_agents_address_says(receiver: Receiver, path: str) -> None:
    theirs, ours = receiver.get(path), receiver.operators(path)
    assert (ours.status_code, ours.json()) == (theirs.status_code, theirs.json())


@pytest.mark.parametrize("path", ["/", "/v1/batches", "/v1/traces", "/problems/not-found", "/metrics/x"])
def test_it_serves_nothing_else(receiver: Receiver, path: str) -> None:
    assert receiver.operators(path).status_code == 404


def test_metrics_are_on_no_path_of_the_agents_address(home: Home, receiver: Receiver, slug: str) -> None:
    assert receiver.post(home.add(slug), BODY).status_code == 202
    metrics = receiver.metrics()
    assert f'customer="{slug}"' in metrics
    assert "sluice_http_accept_seconds_count" in metrics
    assert 'sluice_http_confirm_seconds_bucket{le="+Inf"}' in metrics
    assert 'sluice_http_database_wait_seconds_bucket{le="+Inf"}' in metrics
    assert receiver.get("/metrics").status_code == 404


def test_readers_that_never_read_keep_no_other_reader_and_no_batch_waiting(
    home: Home, receiver: Receiver, slug: str
) -> None:
    key = home.add(slug)
    with contextlib.ExitStack() as stack:
        for number in range(60):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", receiver.operators_port)))
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" if number % 2 else b"GET /met")
        assert receiver.post(key, BODY).status_code == 202
        assert f'customer="{slug}"' in until(lambda: said(receiver), "an answer beside slow readers")


def said(receiver: Receiver) -> str:
    """The metrics; empty when this connection was hung up on."""
    with contextlib.suppress(httpx.TransportError):
        return receiver.metrics()
    return ""


def test_who_finds_the_receiver_ready_finds_its_operators_address(home: Home, tmp_path: Path) -> None:
    with receivers.running(tmp_path, home.environment, ready=False) as receiver:
        address = ("127.0.0.1", receiver.operators_port)
        with receivers.frozen(until(receiver.listener, "the listener")):
            until(receiver.ready, "the receiver")
            early = socket.create_connection(address, receivers.DEADLINE_S)
        with early:
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert early.recv(64).startswith(b"HTTP/1.0 200")


def test_it_comes_back_when_it_is_killed_and_goes_with_the_server(
    home: Home, slug: str, tmp_path: Path
) -> None:
    key = home.add(slug)
    with receivers.running(tmp_path, home.environment) as receiver:
        assert receiver.post(key, BODY).status_code == 202
        first = until(receiver.listener, "the listener")
        os.kill(first, signal.SIGKILL)
        until(lambda: receiver.listener() not in (None, first), "another listener")
        line = f'sluice_http_batches_total{{customer="{slug}",outcome="accepted"}} 1.0'
        until(lambda: line in said(receiver), "the counts of before")
        second = until(receiver.listener, "the listener that answered")
        receiver.process.kill()
        until(lambda: not Path(f"/proc/{second}").exists(), "the listener to go with its server")


def test_an_address_that_is_taken_costs_the_metrics_only_and_only_for_so_long(
    home: Home, slug: str, tmp_path: Path
) -> None:
    key, port = home.add(slug), ports.free(1)[0]
    with socket.create_server(("127.0.0.1", port)) as taken:
        environment = {**home.environment, "SLUICE_HTTP_METRICS_BIND": f"127.0.0.1:{port}"}
        with receivers.running(tmp_path, environment) as receiver:
            receiver.operators_port = port
            assert receiver.post(key, BODY).status_code == 202
            until(lambda: receiver.logged("operators_address_unavailable"), "a line in the log")
            taken.close()
            until(lambda: slug in said(receiver), "the metrics")
