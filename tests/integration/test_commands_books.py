"""`flask books`, `lag`, `receipt` and `verify` against a stream and a ledger that agree, and then don't."""

import hashlib
import time
from functools import partial

import pytest
from sqlalchemy import text

import db.customers.rows
import db.ledger.deposits
import db.ledger.dispatch
import db.ledger.generations
from db.engine import begin, read
from db.ledger.deposits import DepositedWindow
from db.ledger.dispatch import NewBatch
from streams import raw
from tests import envelopes
from tests.commands import flask, flask_json
from tests.integration import ledger_rows
from tests.receiver import Home
from webapp.terminal.exits import Exit

NOW_US = time.time_ns() // 1000
envelope = partial(envelopes.envelope, accepted_at_us=NOW_US)


@pytest.fixture
def agreed(home: Home, slug: str) -> str:
    """A customer with two windows of every kind of batch, the second deposited, and one batch that waits."""
    home.add(slug)
    lying = [
        envelope(slug, "a", b"a"),
        envelope(slug, "b", b"b"),
        envelope(slug, "a", b"a"),  # 2: a repeat
        envelope(slug, "c", b"c"),
        envelope(slug, "b", b"other"),  # 4: an id used again
        envelope(slug, "d", b"d", discarded=True),  # 5
        b"\x00Sp\xc0\x03garbage",  # 6: no envelope
        envelope(slug, "e", b"e"),
        envelope(slug, "waits", b"f"),  # 8
    ]
    home.broker.publish_all(raw(slug), lying, deadline_s=10)
    with read(home.engine) as connection:
        customer = db.customers.rows.get(connection, slug)
    assert customer is not None
    epoch = ledger_rows.claim(home.engine, customer)

    def booked(batch_id: str, offset: int) -> NewBatch:
        digest = hashlib.sha256(batch_id.encode()).digest()
        return ledger_rows.new_batch(offset, batch_id=batch_id, digest=digest, accepted_at=NOW_US)

    ledger_rows.record(
        home.engine,
        customer,
        epoch,
        0,
        3,
        window=ledger_rows.new_window(0, 3, skipped=[2], batches=3, first_accepted_at=NOW_US),
        batches=[booked("a", 0), booked("b", 1), booked("c", 3)],
        duplicates=1,
    )
    second = ledger_rows.record(
        home.engine,
        customer,
        epoch,
        4,
        7,
        window=ledger_rows.new_window(4, 7, skipped=[4, 5, 6], batches=1, first_accepted_at=NOW_US),
        batches=[booked("e", 7)],
        discarded=1,
        reused=[
            ledger_rows.new_quarantine(4, batch_id="b"),
            ledger_rows.new_quarantine(6, batch_id="offset-6", reason="not_an_envelope"),
        ],
    )
    closed = DepositedWindow(id=second, batches=1, decoded=0, kept=0, dropped=0, rejected=0, quarantined=0)
    with begin(home.engine) as connection:
        db.ledger.deposits.mark(connection, [closed], NOW_US)
    return slug


def test_books_that_balance_say_where_each_batch_is(home: Home, agreed: str) -> None:
    document = flask_json(home, "books", "--customer", agreed, "--results")
    assert document["balanced"] is True
    [books] = document["customers"]
    expected = {
        "in_stream": 9,
        "duplicates": 1,
        "discarded": 1,
        "expired": 0,
        "quarantined": 2,
        "owed_batches": 4,
    }
    assert {name: books[name] for name in expected} == expected
    assert (books["deposited"], books["undispatched"]) == (1, 1)
    shown = flask(home, "books", "--customer", agreed)
    assert (shown.exit_code, agreed in shown.stdout) == (Exit.OK, True)


def test_books_that_were_stopped_go_on_at_a_customer(home: Home, slug: str) -> None:
    for name in ("a", "b", "c"):
        home.add(f"{slug}-{name}")
    document = flask_json(home, "books", "--results", "--from", f"{slug}-b")
    mine = [one["customer"] for one in document["customers"] if one["customer"].startswith(slug)]
    assert mine == [f"{slug}-b", f"{slug}-c"]


def test_verify_finds_nothing_where_stream_and_ledger_agree(home: Home, agreed: str) -> None:
    result = flask(home, "verify", agreed)
    assert (result.exit_code, "agrees with the ledger" in result.stdout) == (Exit.OK, True)
    proof = flask_json(home, "verify", agreed)
    found = {name: proof[name] for name in ("read", "skipped", "windows", "unprovable", "differences")}
    assert found == {"read": 8, "skipped": 4, "windows": 2, "unprovable": 0, "differences": []}


MINE = "customer_id = (SELECT id FROM customers WHERE slug = '{slug}')"


def window_at(offset: int, change: str) -> str:
    return f"UPDATE windows SET {change} WHERE {MINE} AND first_offset = {offset}"


VERIFY_FINDS = {
    "a window is gone": f"DELETE FROM windows WHERE {MINE} AND first_offset = 0",
    "the last window is gone": f"DELETE FROM windows WHERE {MINE} AND first_offset = 4",
    "a window is short": window_at(0, "last_offset = 2, batches = 2"),
    "a window begins late": window_at(4, "first_offset = 5, skipped = '[5, 6]'"),
    "windows overlap": window_at(0, "last_offset = 4, batches = 4"),
    "a repeat is worked on": window_at(0, "skipped = '[]', batches = 4"),
    "a first batch is skipped": window_at(0, "skipped = '[2, 3]', batches = 2"),
    "a discarded batch is worked on": window_at(4, "skipped = '[4, 6]', batches = 2"),
    "garbage is worked on": window_at(4, "skipped = '[4, 5]', batches = 2"),
    "a window counts wrongly": window_at(0, "batches = 4"),
    "an id is not booked": f"DELETE FROM batches WHERE {MINE} AND batch_id = 'c'",
    "an id of a repeat is not booked": f"DELETE FROM batches WHERE {MINE} AND batch_id = 'a'",
    "an id is booked elsewhere": f"UPDATE batches SET first_offset = 2 WHERE {MINE} AND batch_id = 'a'",
    "an id is booked in another window": f"UPDATE batches SET window_id = 0 WHERE {MINE} AND batch_id = 'a'",
    "an id is booked with other bytes": f"UPDATE batches SET digest = x'00' WHERE {MINE} AND batch_id = 'e'",
    "a reused id is in no quarantine": f"DELETE FROM quarantine WHERE {MINE} AND stream_offset = 4",
    "garbage is in no quarantine": f"DELETE FROM quarantine WHERE {MINE} AND stream_offset = 6",
    "the cursor is ahead": f"UPDATE dispatch SET next_offset = 9, batches = 9 WHERE {MINE}",
    "the cursor is beyond the end": f"UPDATE dispatch SET next_offset = 12 WHERE {MINE}",
}


@pytest.mark.parametrize("case", VERIFY_FINDS)
def test_verify_finds_what_does_not_agree(home: Home, agreed: str, case: str) -> None:
    with begin(home.engine) as connection:
        assert connection.execute(text(VERIFY_FINDS[case].format(slug=agreed))).rowcount == 1
    result = flask(home, "verify", agreed)
    assert (result.exit_code, "does not agree" in result.stdout) == (Exit.DIFFERS, True)


BOOKS_FIND = {
    "a window is gone": f"DELETE FROM windows WHERE {MINE} AND first_offset = 0",
    "a batch was not counted": f"UPDATE dispatch SET batches = batches - 1 WHERE {MINE}",
    "a duplicate too many": f"UPDATE dispatch SET duplicates = duplicates + 1 WHERE {MINE}",
    "an event is missing": window_at(4, "decoded = 1"),
    "the cursor is beyond the end": f"UPDATE dispatch SET next_offset = 12, batches = 12 WHERE {MINE}",
    "the cursor moved alone": f"UPDATE dispatch SET next_offset = 9 WHERE {MINE}",
}


@pytest.mark.parametrize("case", BOOKS_FIND)
def test_books_that_do_not_balance_exit_1_and_say_why(home: Home, agreed: str, case: str) -> None:
    with begin(home.engine) as connection:
        assert connection.execute(text(BOOKS_FIND[case].format(slug=agreed))).rowcount == 1
    result = flask(home, "books", "--customer", agreed)
    assert (result.exit_code, f"{agreed}: " in result.stdout) == (Exit.DIFFERS, True)


def test_a_cursor_that_moved_alone_is_found_in_a_later_generation_too(home: Home, agreed: str) -> None:
    with begin(home.engine) as connection:
        customer = db.customers.rows.get(connection, agreed)
        assert customer is not None
        db.ledger.generations.begin(
            connection,
            customer_id=customer.id,
            epoch=db.ledger.dispatch.position(connection, customer.id).epoch,
            kind="cut",
            before=8,
            after=4,
            edge=None,
            now_us=NOW_US,
        )
    assert flask(home, "books", "--customer", agreed).exit_code == Exit.OK
    with begin(home.engine) as connection:
        connection.execute(text(BOOKS_FIND["the cursor moved alone"].format(slug=agreed)))
    result = flask(home, "books", "--customer", agreed)
    assert result.exit_code == Exit.DIFFERS
    assert f"{agreed}: the cursor moved from 4 to 9, but 0 batches passed" in result.stdout


RESULTS_DIFFER = {
    "a row of quarantine is missing": f"DELETE FROM quarantine WHERE {MINE} AND stream_offset = 4",
    "events are kept and in no interaction": window_at(4, "kept = 5, decoded = 5"),
}


@pytest.mark.parametrize("case", RESULTS_DIFFER)
def test_the_result_tables_are_held_against_the_ledger_on_request(home: Home, agreed: str, case: str) -> None:
    with begin(home.engine) as connection:
        assert connection.execute(text(RESULTS_DIFFER[case].format(slug=agreed))).rowcount == 1
    assert flask(home, "books", "--customer", agreed).exit_code == Exit.OK
    assert flask(home, "books", "--customer", agreed, "--results").exit_code == Exit.DIFFERS


def test_a_stream_that_is_gone_is_a_difference(home: Home, agreed: str) -> None:
    home.broker.delete(raw(agreed))
    assert flask(home, "books", "--customer", agreed).exit_code == Exit.DIFFERS
    assert flask(home, "verify", agreed).exit_code == Exit.DIFFERS


def test_lag_counts_what_waits_in_the_stream_and_what_is_in_flight(home: Home, agreed: str) -> None:
    [lag] = flask_json(home, "lag", "--customer", agreed)["customers"]
    assert (lag["owed_batches"], lag["windows_in_flight"]) == (4, 1)
    assert 0 <= lag["oldest_owed_seconds"] <= (time.time_ns() // 1000 - NOW_US) / 1e6 + 1
    assert agreed in flask(home, "lag").stdout


@pytest.mark.parametrize(
    ("batch_id", "state"),
    [("a", "dispatched"), ("e", "deposited"), ("offset-6", "quarantined"), ("waits", "waiting")],
)
def test_a_receipt_says_where_the_batch_is(home: Home, agreed: str, batch_id: str, state: str) -> None:
    assert flask_json(home, "receipt", agreed, batch_id)["state"] == state
    assert state in flask(home, "receipt", agreed, batch_id).stdout


def test_a_receipt_of_a_batch_that_never_came_is_not_found(home: Home, agreed: str) -> None:
    assert flask(home, "receipt", agreed, "never").exit_code == Exit.NOT_FOUND


def test_quarantine_is_listed_and_shown(home: Home, agreed: str) -> None:
    rows = flask_json(home, "quarantine", "list", "--customer", agreed)["quarantine"]
    assert [row["batch_id"] for row in rows] == ["offset-6", "b"]
    one = str(rows[1]["id"])
    assert "batch_id_reused" in flask(home, "quarantine", "show", one).stdout
    assert flask(home, "quarantine", "show", one, "--bytes").stdout_bytes == b"{}"
    assert one in flask(home, "quarantine", "list", "--reason", "batch_id_reused").stdout
    assert flask(home, "quarantine", "show", "999999").exit_code == Exit.NOT_FOUND
