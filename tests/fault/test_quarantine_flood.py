"""A customer that posts garbage as fast as good batches: its quarantine takes its bytes a day, no more."""

import os
import secrets
from functools import partial

import pytest
from sqlalchemy import text

from tests.fault.attempt import attempt
from tests.fault.installation import Installation
from tests.integration.test_whole import event, ndjson, settled
from tests.whole import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]

MIB = 1024 * 1024
BUDGET = 2 * MIB
ROUNDS = 12
KEPT = text(
    "SELECT coalesce(sum(length(bytes)), 0), count(withheld), count(*),"
    " max(CASE WHEN withheld > 0 THEN id END)"
    " FROM quarantine WHERE customer_id = (SELECT id FROM customers WHERE slug = :slug)"
)


def test_garbage_between_good_batches_fills_a_days_quarantine_and_not_the_database(
    installation: Installation,
) -> None:
    attempt(installation, "quarantine flood", flood)


def flood(installation: Installation) -> None:
    """Good batches, half a megabyte that is no Arrow stream, and as much under an id that was used before."""
    whole = installation.whole
    [(slug, key)] = installation.customers(1).items()
    whole.flask("customers", "limit", slug, "--quarantine-daily-bytes", str(BUDGET))
    for _ in range(ROUNDS):
        padding = secrets.token_hex(MIB // 4)
        reused = ndjson(event(secrets.token_hex(16), attributes={"padding": padding}))
        assert whole.post_batch(key, reused, Idempotency_Key="one").status == 202
        assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
        garbage = os.urandom(MIB // 2)
        arrow = "application/vnd.apache.arrow.stream"
        assert whole.post_batch(key, garbage, Content_Type=arrow).status == 202
    until(partial(settled, whole, slug), "the flood to be booked")
    with installation.engine.connect() as conn:
        kept, withheld, rows, last = conn.execute(KEPT, {"slug": slug}).one()
    assert rows == 2 * ROUNDS  # the first text of all is too long for an attribute
    assert BUDGET // 2 < kept <= BUDGET
    assert withheld == rows - kept // (MIB // 2)
    whole.flask("quarantine", "replay", "--customer", slug, "--id", str(last))
    until(partial(settled, whole, slug), "the replay to be booked")
    whole.flask("books", "--customer", slug, "--results")
    whole.flask("verify", slug)
