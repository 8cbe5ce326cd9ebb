"""docs/quarantine.md and docs/formats.md say what the decoders do."""

import re
from pathlib import Path

import pytest

from tasks.decoders import RejectReason, UnfitReason
from tasks.worker.requests import TIME_LIMIT, UNEXPECTED_ERROR, WORKER_DIED
from tests.unit.decode_samples import decode, raw

DOCS = Path(__file__).resolve().parents[2] / "docs"
FROM_ELSEWHERE = {"batch_id_reused", "not_an_envelope", "expired"}  # dispatch's and decode's own
FROM_ELSEWHERE |= {WORKER_DIED, TIME_LIMIT, UNEXPECTED_ERROR}


def documented(heading: str) -> list[str]:
    section = (DOCS / "quarantine.md").read_text().split(f"## {heading}")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_every_reason_of_a_reject_is_documented_and_no_other() -> None:
    assert documented("Why an event is rejected") == list(RejectReason)


def test_every_reason_of_an_unfit_batch_is_documented_and_no_other() -> None:
    assert set(documented("Why a batch is unfit as a whole")) == set(UnfitReason) | FROM_ELSEWHERE


@pytest.mark.parametrize(("heading", "form", "events"), [("NDJSON", "ndjson", 2), ("OTLP", "otlp-json", 1)])
def test_the_examples_are_events(heading: str, form: str, events: int) -> None:
    section = (DOCS / "formats.md").read_text().split(f"\n## {heading}\n")[1]
    example = section.split("```json\n")[1].split("```")[0]
    assert decode(raw(example.encode(), form)).counts == [events]
