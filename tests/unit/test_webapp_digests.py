"""Content-Digest and the digest of a body."""

import base64
import gzip
import hashlib
import io
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from webapp.problems import BAD_DIGEST, DIGEST_MISMATCH, Problem
from webapp.receiving.digests import ALGORITHMS, body_digest, parse, verify

BODY = b'{"event": 1}'


def header(name: str, body: bytes = BODY) -> str:
    return f"{name}=:{base64.b64encode(ALGORITHMS[name](body)).decode()}:"


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_the_digest_of_the_body_is_taken(name: str) -> None:
    verify(header(name), BODY)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_the_digest_of_another_body_is_a_mismatch(name: str) -> None:
    with pytest.raises(Problem) as refused:
        verify(header(name, BODY + b" "), BODY)
    assert refused.value.kind is DIGEST_MISMATCH


def test_sha_256_is_the_one_of_hashlib() -> None:
    verify(f"sha-256=:{base64.b64encode(hashlib.sha256(BODY).digest()).decode()}:", BODY)


def test_crc32c_is_the_one_of_the_rfc() -> None:
    # RFC 3720 B.4: the CRC-32C of 32 bytes of zeroes is 0x8a9136aa.
    verify(f"crc32c=:{base64.b64encode(bytes.fromhex('8a9136aa')).decode()}:", bytes(32))


def test_an_unknown_algorithm_beside_a_known_one_is_passed_over() -> None:
    verify(f"md5=:AAAA:, {header('sha-256')}", BODY)


def test_each_known_digest_must_match() -> None:
    with pytest.raises(Problem) as refused:
        verify(f"{header('sha-256')}, {header('sha-512', b'other')}", BODY)
    assert refused.value.kind is DIGEST_MISMATCH


def test_parameters_and_blanks_are_allowed_as_in_structured_fields() -> None:
    verify(f"  {header('sha-256')};q=1 ,\t{header('crc32c')}", BODY)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "sha-256",
        "sha-256=",
        "sha-256=abc",
        "sha-256=:abc",
        "sha-256=::",
        "sha-256=:not base64!:",
        "sha-256=:AAAA:",
        "md5=:AAAAAAAAAAAAAAAAAAAAAA==:",
        "=:AAAA:",
        ",",
        "sha-256=\u00e9",
    ],
)
def test_a_header_of_the_wrong_form_is_refused(bad: str) -> None:
    with pytest.raises(Problem) as refused:
        verify(bad, BODY)
    assert refused.value.kind is BAD_DIGEST
    assert refused.value.members["accepted"] == sorted(ALGORITHMS)


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_any_header_is_taken_or_refused_and_nothing_else(text: str) -> None:
    with suppress(Problem):
        assert parse(text).keys() & ALGORITHMS.keys()


def gzipped(body: bytes, second: int) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=second) as file:
        file.write(body)
    return out.getvalue()


def test_the_same_events_compressed_a_second_later_are_the_same_batch() -> None:
    assert gzipped(BODY, 1_700_000_000) != gzipped(BODY, 1_700_000_001)
    assert body_digest(gzipped(BODY, 1_700_000_000), "gzip") == body_digest(
        gzipped(BODY, 1_700_000_001), "gzip"
    )


def test_other_events_compressed_in_the_same_second_are_another_batch() -> None:
    assert body_digest(gzipped(BODY, 1), "gzip") != body_digest(gzipped(BODY + b"\n", 1), "gzip")


def test_a_gzip_without_a_time_has_its_plain_sha_256() -> None:
    body = gzipped(BODY, 0)
    assert body_digest(body, "gzip") == hashlib.sha256(body).digest()


@given(st.binary(max_size=40), st.sampled_from(["", "zstd", "br", "deflate"]))
def test_other_encodings_have_their_plain_sha_256(body: bytes, encoding: str) -> None:
    assert body_digest(body, encoding) == hashlib.sha256(body).digest()
