"""nginx as deploy/ has it: what it refuses itself a page can read as it reads the receiver's refusals."""

import select
from collections.abc import Callable, Iterator

import httpx
import pytest

from deploy.local import ports
from tests import nginx
from tests.receiver import Home, Receiver
from tests.slow import SlowAgent, crowd, head
from webapp.receiving.cors import EXPOSED

BODY = b'{"event": 1}\n'
ORIGIN = "https://shop.example"


@pytest.fixture(scope="module")
def port(nginx_program: str, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with nginx.running(nginx_program, tmp_path_factory.mktemp("nginx"), receiver.port) as port:
        yield port


@pytest.fixture(scope="module")
def alone(nginx_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where no receiver is behind it, and each request says which address it comes from."""
    folder, nobody = tmp_path_factory.mktemp("nginx"), ports.free(1)[0]
    with nginx.running(nginx_program, folder, nobody, tells_address=True) as port:
        yield port


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("behind-nginx")


def readable(headers: httpx.Headers) -> bool:
    """For a page of any origin; a header that comes twice is none to a browser."""
    return headers.get_list("access-control-allow-origin") == ["*"] and headers.get_list(
        "access-control-expose-headers"
    ) in (["Retry-After"], [EXPOSED])


def post(port: int, key: str | None, body: bytes, path: str = "/v1/batches") -> httpx.Response:
    sent = {"content-type": "application/x-ndjson", "origin": ORIGIN}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    return httpx.post(
        f"http://127.0.0.1:{port}{path}", content=body, headers=sent, timeout=60, trust_env=False
    )


def test_the_receivers_answers_pass_with_its_own_headers(port: int, key: str) -> None:
    for who, status in ((key, 202), (None, 401)):
        answer = post(port, who, BODY)
        assert (answer.status_code, readable(answer.headers)) == (status, True)
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    preflight = httpx.options(
        f"http://127.0.0.1:{port}/v1/traces", headers=asked, timeout=60, trust_env=False
    )
    assert (preflight.status_code, readable(preflight.headers)) == (200, True)
    assert preflight.headers["access-control-allow-methods"] == "POST"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head(None, "Content-Length: 99999999"), 413),
        (head(None, path="/" + "a" * 40_000), 414),
        (head(None, f"X-Long: {'a' * 40_000}"), 400),
        (b"nonsense\r\n\r\n", 400),
        (b"POST /v1/batches HTTP/1.1\r\nContent-Length: 2\r\n\r\n", 400),
        (head(None, "Content-Length: 0", path="/nothing"), 404),
    ],
    ids=[
        "a large body",
        "a long request line",
        "a long header",
        "no request line",
        "no host",
        "another path",
    ],
)
def test_a_page_may_read_what_nginx_refuses(port: int, request_: bytes, status: int) -> None:
    with SlowAgent(port) as agent:
        agent.sendall(request_)
        came = agent.recv(65536).lower()
    assert came.startswith(f"http/1.1 {status} ".encode())
    assert came.count(b"\r\naccess-control-allow-origin: *\r\n") == 1


def test_a_page_may_read_when_to_come_again_after_too_many_at_once(port: int, key: str) -> None:
    with crowd(port, 40) as agents:
        for agent in agents:
            agent.sendall(head(key, "Content-Length: 13"))
        assert any(_refused(agent) for agent in reversed(agents))
    assert post(port, key, BODY).status_code == 202


def test_a_secret_key_in_a_url_reaches_neither_the_receiver_nor_a_log(port: int, key: str) -> None:
    for written in (key, key.replace("sl_", "%73l%5f")):
        answer = post(port, None, BODY, path=f"/v1/batches?key={written}")
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/key-in-url")
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    refused = head(None, "Content-Length: 99999999", path=f"/v1/batches?key={key}")
    with SlowAgent(port) as agent:
        agent.sendall(refused)
        assert b" 401 " in agent.recv(65536).partition(b"\r\n")[0]


PUBLIC_KEY = "pk_behind-nginx_" + "a" * 43
CROWD = 40


def encoded(place: int) -> str:
    """The key with one of its characters as %61 instead of `a`."""
    return f"pk_behind-nginx_{'a' * place}%61{'a' * (42 - place)}"


def by_query(key: str, *lines: str, name: str = "key") -> bytes:
    return head(None, "Content-Length: 13", *lines, path=f"/v1/batches?{name}={key}")


def turned_away(port: int, requests: list[bytes]) -> bool:
    """Whether some of these are refused when all are under way; nginx waits for the bodies of the others."""
    with crowd(port, len(requests)) as agents:
        for agent, request_ in zip(agents, requests, strict=True):
            agent.sendall(request_)
        readable_now, _, _ = select.select(agents, [], [], 2.0)
        return any(_refused(agent) for agent in readable_now)


@pytest.mark.parametrize(
    "disguised",
    [
        lambda n: by_query(PUBLIC_KEY),
        lambda n: by_query(encoded(n)),
        lambda n: by_query(PUBLIC_KEY, f"Authorization: Bearer sl_made-up_{n}"),
        lambda n: by_query(PUBLIC_KEY, f"Authorization: Bearer sl_made-up_{n}", name="%6bey"),
        lambda n: by_query(f"{n}&key={PUBLIC_KEY}", name="KEY"),
        lambda n: by_query(f"pk_made-up_{n}{'&format=ndjson' * 16}", "Authorization: Bearer sl_a_b"),
        lambda n: head(None, "Content-Length: 13", f"Authorization: bearer{' ' * (n + 1)}sl_a_b"),
        lambda n: by_query(PUBLIC_KEY, f"X-Forwarded-For: 2001:db8:0:7::{n:x}"),
    ],
    ids=[
        "as it is",
        "encoded key",
        "beside keys in headers",
        "encoded name",
        "behind a name that is none",
        "one of very many",
        "behind many blanks",
        "addresses of one network",
    ],
)
def test_no_way_to_write_a_key_has_a_share_of_its_own(alone: int, disguised: Callable[[int], bytes]) -> None:
    assert turned_away(alone, [disguised(n) for n in range(CROWD)])


def test_each_network_has_its_share_of_a_public_key(alone: int) -> None:
    networks = [f"X-Forwarded-For: 2001:db8:0:{n:x}::1" for n in range(CROWD // 2)]
    networks += [f"X-Forwarded-For: 192.0.2.{n}" for n in range(CROWD // 2)]
    assert not turned_away(alone, [by_query(PUBLIC_KEY, line) for line in networks])


def test_metrics_are_not_asked_of_the_receiver(port: int, alone: int) -> None:
    for each in (port, alone):
        answer = httpx.get(f"http://127.0.0.1:{each}/metrics", timeout=60, trust_env=False)
        assert (answer.status_code, answer.json()["title"]) == (404, "there is nothing here")


def test_a_page_may_read_that_the_receiver_is_away(alone: int, key: str) -> None:
    answer = post(alone, key, BODY)
    assert (answer.status_code, answer.headers["retry-after"], readable(answer.headers)) == (503, "2", True)


def _refused(agent: SlowAgent) -> bool:
    """Those of which nginx waits for the body have no answer."""
    agent.settimeout(0.5)
    try:
        came = agent.recv(65536).lower()
    except TimeoutError:
        return False
    assert came.startswith(b"http/1.1 429 ")
    assert came.count(b"\r\nretry-after: 1\r\n") == 1
    assert came.count(b"\r\naccess-control-allow-origin: *\r\n") == 1
    assert came.count(b"\r\naccess-control-expose-headers: retry-after\r\n") == 1
    return True
