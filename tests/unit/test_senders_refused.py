"""What tests of senders lean on: a front that refuses just so many posts, and set-ups that fail once."""

import http.client
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.senders import setups
from tests.senders.refusing import RefusingFront


class _Accepting(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        """Nothing."""


@pytest.fixture
def front() -> Iterator[RefusingFront]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Accepting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with RefusingFront(server.server_port, refusals=2) as front:
            yield front
    finally:
        server.shutdown()
        server.server_close()


def test_just_so_many_posts_are_refused_of_many_that_are_under_way(front: RefusingFront) -> None:
    idle = http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)
    idle.connect()
    posts = [http.client.HTTPConnection("127.0.0.1", front.port, timeout=30) for _ in range(6)]
    for post in posts:
        post.request("POST", "/", headers={"Content-Length": "2"})
        post.send(b"a")
    for post in posts:
        post.send(b"b")
    assert sorted(post.getresponse().status for post in posts) == [202] * 4 + [503] * 2
    assert (front.refused, front.passed_on) == (2, 1)
    idle.request("PUT", "/", headers={"Content-Length": "0"})
    assert idle.getresponse().status == 202
    for each in (idle, *posts):
        each.close()


def test_a_set_up_that_could_not_be_installed_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def fail(name: str, folder: object) -> None:
        tried.append(name)
        raise OSError("the index is away")

    monkeypatch.setattr(setups, "_with_pip", fail)
    monkeypatch.setattr(setups, "INSTALLED", tmp_path)
    monkeypatch.setattr(setups, "_missing", {})
    for _ in range(2):
        with pytest.raises(setups.SetupMissing, match="the index is away"):
            setups.ensure("node")
    assert tried == ["node"]
