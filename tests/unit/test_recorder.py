"""Which batches are repeats, when receivers of two releases name one batch differently."""

import hashlib
from typing import Any, cast

import pytest

from db.ledger.dispatch import Known
from streams import Envelope, made_id, other_id
from tasks.dispatcher.cutter import Pending
from tasks.dispatcher.raw_streams.feed import Feed
from tasks.dispatcher.recorder import sort

DIGEST = hashlib.sha256(b"body").digest()
FORMER = DIGEST.hex()
MADE = made_id(DIGEST, "ndjson", "gzip")
FEED = cast(Feed, None)  # not looked at


def envelope(batch_id: str, **changes: Any) -> Envelope:
    fields: dict[str, Any] = {
        "batch_id": batch_id,
        "customer": "acme",
        "agent": "",
        "format": "ndjson",
        "content_type": "",
        "content_encoding": "gzip",
        "accepted_at_us": 0,
        "digest": DIGEST,
        "body": b"body",
    }
    return Envelope(**fields | changes)


def pending(offset: int, batch_id: str, *, digest: bytes = DIGEST, discarded: bool = False) -> Pending:
    return Pending(
        offset=offset,
        batch_id=batch_id,
        digest=digest,
        size=4,
        accepted_at_us=0,
        seen_at_s=0.0,
        ends_chunk=True,
        fingerprint=b"",
        other_id=other_id(envelope(batch_id, digest=digest)),
        discarded=discarded,
    )


def test_an_id_covers_body_format_and_encoding() -> None:
    said = [("ndjson", "gzip"), ("ndjson", ""), ("arrow", "gzip"), ("arrow", "")]
    assert len({made_id(digest, *one) for one in said for digest in (DIGEST, bytes(32))}) == 8
    assert made_id(DIGEST, "ndjson", "gzip") == hashlib.sha256(DIGEST + b" ndjson gzip").hexdigest()


def test_only_a_batch_without_an_id_of_its_own_has_one_of_another_release() -> None:
    assert (other_id(envelope(MADE)), other_id(envelope(FORMER))) == (FORMER, MADE)
    assert other_id(envelope("order-4711")) == ""
    assert other_id(envelope(MADE, format="arrow")) == ""


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize(("first", "second"), [(FORMER, MADE), (MADE, FORMER)])
@pytest.mark.parametrize(
    ("dropped", "booked"),
    [
        ((False, False), (1, 0, 1)),
        ((True, False), (1, 1, 0)),
        ((False, True), (1, 0, 1)),
        ((True, True), (0, 1, 1)),
    ],
)
def test_a_retry_under_the_id_of_another_release_is_the_same_batch(
    first: str, second: str, dropped: tuple[bool, bool], booked: tuple[int, int, int], remembered: bool
) -> None:
    tries = [pending(0, first, discarded=dropped[0]), pending(1, second, discarded=dropped[1])]
    known = {first: Known(DIGEST, dropped[0])} if remembered else {}
    sorted_batches = sort(FEED, tries[remembered:], known)
    found = (len(sorted_batches.fresh), len(sorted_batches.discarded), sorted_batches.duplicates)
    before = (int(not dropped[0]), int(dropped[0]), 0) if remembered else (0, 0, 0)
    assert tuple(map(sum, zip(found, before, strict=True))) == booked
    assert not sorted_batches.quarantined


def test_an_agents_own_id_that_looks_like_one_of_another_release_is_another_batch() -> None:
    sorted_batches = sort(FEED, [pending(0, MADE)], {FORMER: Known(bytes(32), False)})
    assert (len(sorted_batches.fresh), sorted_batches.duplicates, sorted_batches.quarantined) == (1, 0, {})
