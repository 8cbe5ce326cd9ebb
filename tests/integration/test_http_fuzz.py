"""Requests made from the receiver's own OpenAPI document: every answer is one that the document describes."""

import warnings
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.examples import TIMES
from tests.receiver import ROOT, Home, Receiver

DOCUMENT = schemathesis.openapi.from_path(ROOT / "docs" / "openapi.yaml")
FOUND = [each.ok() for each in DOCUMENT.get_all_operations() if isinstance(each, Ok)]
OPERATIONS = {f"{each.method} {each.path}": each for each in FOUND}
DESCRIBED = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=90)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "application/x-protobuf; a=b", "text/plain", ""])
        | HEADER,
        "Content-Encoding": st.sampled_from(["gzip", "x-gzip", "GZIP", "zstd, br", "identity", ""]) | HEADER,
        "Content-Digest": st.sampled_from(["sha-256=:AAAA:", "md5=:AAAA:", "crc32c=::"]) | HEADER,
        "Idempotency-Key": st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=70) | HEADER,
        "User-Agent": HEADER,
        "Origin": HEADER,
        "Access-Control-Request-Method": HEADER,
        "Expect": st.just("100-continue"),
        "X-HTTP-Method-Override": st.just("DELETE"),
    },
)


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("fuzzed")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_one_that_the_document_describes(
    receiver: Receiver, key: str, name: str, mode: GenerationMode
) -> None:
    operation = OPERATIONS[name]
    if mode is GenerationMode.NEGATIVE and operation.method == "get":
        pytest.skip("there is nothing in the request that could be wrong")
    keys = st.sampled_from([f"Bearer {key}"] * 9 + ["Bearer nobody", "Basic eA==", ""]) | HEADER

    @given(case=operation.as_strategy(generation_mode=mode), authorization=keys, more=HEADERS)
    @settings(
        max_examples=25 * TIMES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def fuzz(case: Any, authorization: str, more: dict[str, str]) -> None:
        sent = {**(case.headers or {}), **more, "Authorization": authorization}
        case.headers = {name: _latin(value) for name, value in sent.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = case.call(base_url=receiver.url, timeout=60)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        assert b"Traceback" not in answer.content
        case.validate_response(answer, checks=DESCRIBED, excluded_checks=[not_a_server_error])

    fuzz()


def _latin(value: Any) -> str:
    """As much of a header as HTTP can carry."""
    return str(value).encode("latin-1", "replace").decode("latin-1").strip()
