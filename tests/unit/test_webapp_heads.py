"""What the head of a request is found to say, and which heads are none."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from webapp import problems
from webapp.problems import Problem, ProblemType
from webapp.receiving.body import announced_length
from webapp.serving.request_head import (
    FIELD_BYTES,
    FIELDS,
    HEAD_BYTES,
    LINE_BYTES,
    RequestHead,
    read_head,
    split_head,
)


def head(*lines: str, first: str = "POST /v1/batches HTTP/1.1") -> RequestHead:
    return read_head("\r\n".join([first, "Host: x", *lines, "", ""]).encode("latin-1"), {"a": "b"})


def refusal(*lines: str, first: str = "POST /v1/batches HTTP/1.1") -> ProblemType:
    with pytest.raises(Problem) as refused:
        head(*lines, first=first)
    return refused.value.kind


def test_a_head_becomes_variables() -> None:
    found = head(
        "Content-Length: 5",
        "content-type: text/plain ",
        "X-A: \xe9",
        "x-a: 2",
        first="POST /a%20b?c=%20 HTTP/1.1",
    )
    assert found.environ == {
        "a": "b",
        "REQUEST_METHOD": "POST",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c=%20",
        "HTTP_HOST": "x",
        "CONTENT_LENGTH": "5",
        "CONTENT_TYPE": "text/plain",
        "HTTP_X_A": "\xe9,2",
    }
    assert (found.length, found.kept, found.expects) == (5, True, False)


@pytest.mark.parametrize("name", ["Idempotency_Key", "Content_Length", "Transfer_Encoding"])
def test_a_header_with_an_underscore_passes_for_none_with_a_hyphen(name: str) -> None:
    found = head(f"{name}: 7")
    assert found.length == 0
    assert "7" not in found.environ.values()


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://h/v1/x?y", "/v1/x"), ("HTTPS://h", "/"), ("*", "*"), ("/a#b", "/a"), ("//v1/x", "//v1/x")],
)
def test_a_target_is_a_path(target: str, path: str) -> None:
    assert head(first=f"OPTIONS {target} HTTP/1.1").environ["PATH_INFO"] == path


@pytest.mark.parametrize("target", ["x:1", "ftp://x/y"])
def test_another_target_is_none(target: str) -> None:
    assert refusal(first=f"CONNECT {target} HTTP/1.1") is problems.BAD_REQUEST


@pytest.mark.parametrize(
    ("version", "lines", "kept"),
    [
        ("1.1", [], True),
        ("1.1", ["Connection: close"], False),
        ("1.0", [], False),
        ("1.0", ["Connection: keep-alive"], True),
        ("1.1", ["Connection: upgrade", "Upgrade: h2c"], True),
    ],
)
def test_a_connection_is_kept_as_its_version_and_the_agent_say(
    version: str, lines: list[str], kept: bool
) -> None:
    assert head(*lines, first=f"GET / HTTP/{version}").kept is kept


@pytest.mark.parametrize(("version", "expects"), [("1.1", True), ("1.0", False)])
def test_an_agent_of_http_1_0_waits_for_no_continue(version: str, expects: bool) -> None:
    found = head("Expect: 100-Continue", "Content-Length: 2", first=f"POST / HTTP/{version}")
    assert found.expects is expects


def test_chunks_have_no_length() -> None:
    assert head("TRANSFER-ENCODING: Chunked").length is None


REFUSED: dict[str, tuple[list[str], ProblemType]] = {
    "an expectation": (["Expect: a-miracle"], problems.UNKNOWN_EXPECTATION),
    "an unknown coding": (["Transfer-Encoding: rot13"], problems.UNKNOWN_TRANSFER_CODING),
    "a coding below": (["Transfer-Encoding: gzip, chunked"], problems.UNKNOWN_TRANSFER_CODING),
    "chunks twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], problems.BAD_REQUEST),
    "length and chunks": (["Content-Length: 1", "Transfer-Encoding: chunked"], problems.BAD_REQUEST),
    "chunks and length": (["Transfer-Encoding: chunked", "Content-Length: 1"], problems.BAD_REQUEST),
    "two lengths": (["Content-Length: 1", "Content-Length: 1"], problems.BAD_REQUEST),
    "a sign": (["Content-Length: +1"], problems.BAD_REQUEST),
    "19 digits": (["Content-Length: 1000000000000000000"], problems.BAD_REQUEST),
    "two hosts": (["Host: y"], problems.BAD_REQUEST),
    "two types": (["Content-Type: a/b", "Content-Type: a/b"], problems.BAD_REQUEST),
    "a fold": (["X: a", " b"], problems.BAD_REQUEST),
    "a blank": (["X : a"], problems.BAD_REQUEST),
    "a bare return": (["X: a\rb"], problems.BAD_REQUEST),
    "a bare feed": (["X: a\nY: b"], problems.BAD_REQUEST),
    "NUL": (["X: a\0"], problems.BAD_REQUEST),
    "many": (["X: a"] * FIELDS, problems.HEAD_TOO_LARGE),
    "long": (["X: " + "a" * (FIELD_BYTES - 4)], problems.HEAD_TOO_LARGE),
}


@pytest.mark.parametrize(("lines", "kind"), REFUSED.values(), ids=REFUSED.keys())
def test_a_head_that_is_none_is_refused(lines: list[str], kind: ProblemType) -> None:
    assert refusal(*lines) is kind


def test_the_bounds_themselves_are_allowed() -> None:
    assert head(*["X: a"] * (FIELDS - 1), first=f"GET {'/':a<{LINE_BYTES - 13}} HTTP/1.1").length == 0
    assert head("X: " + "a" * (FIELD_BYTES - 5)).length == 0
    assert refusal(first=f"GET {'/':a<{LINE_BYTES - 12}} HTTP/1.1") is problems.PATH_TOO_LONG


OTHERS = ["HTTP/9.9", "HTTP/2.0", "HTTP/0.9", "RTSP/1.0", ""]


@pytest.mark.parametrize("first", [*(f"GET / {other}" for other in OTHERS), "", "get / HTTP/1.1"])
def test_a_line_of_another_protocol_is_none(first: str) -> None:
    assert refusal(first=first) is problems.BAD_REQUEST


@pytest.mark.parametrize("protocol", ["RTSP/1.0", "ICE/1.0"])
def test_a_header_does_not_make_another_protocol_http(protocol: str) -> None:
    assert refusal("X: a HTTP/1.1", first=f"POST /v1/batches {protocol}") is problems.BAD_REQUEST


def test_one_empty_line_may_stand_before_a_head() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert split_head(b"\r\n" + whole + b"behind") == (whole, b"behind")
    assert split_head(b"\r\n" + whole[:-1]) is None
    found = split_head(b"\r\n\r\n" + whole)
    assert found is not None
    with pytest.raises(Problem):
        read_head(found[0], {})
    for more in (HEAD_BYTES, HEAD_BYTES + 1):
        with pytest.raises(Problem) as refused:
            split_head(b"GET / HTTP/1.1\r\nX: " + b"a" * more)
        assert refused.value.kind is problems.HEAD_TOO_LARGE


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_refused(some: bytes) -> None:
    with contextlib.suppress(Problem):
        found = read_head(some + b"\r\n\r\n", {})
        assert found.environ["SERVER_PROTOCOL"] in ("HTTP/1.1", "HTTP/1.0")


def length_refusal(environ: dict[str, Any]) -> ProblemType:
    with pytest.raises(Problem) as refused:
        announced_length(environ, limit=10)
    return refused.value.kind


def test_a_length_above_the_limit_is_refused() -> None:
    assert announced_length({"CONTENT_LENGTH": "10"}, limit=10) == 10
    assert length_refusal({"CONTENT_LENGTH": "11"}) is problems.BODY_TOO_LARGE


@pytest.mark.parametrize("length", ["-1", "1e3", "+5", "0x10", "9" * 30])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert length_refusal({"CONTENT_LENGTH": length}) is problems.BODY_INCOMPLETE
