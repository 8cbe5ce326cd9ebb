"""A customer's own retention, its keys, and the notes of what operators did about it."""

from typing import Any

import pytest
from sqlalchemy import select

from db.clock import DAY_US, now_us
from db.customers.keys import ID_DIGITS, digest
from db.customers.rows import get
from db.engine import read
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from db.tables import customers, metadata
from tests.commands import flask, flask_json
from tests.integration import ledger_rows
from tests.receiver import Home, Receiver, until
from webapp.terminal.exits import Exit

WHO = ("--by", "anna", "--why", "a test")
KEPT = ("results", "quarantine", "ids")


def kept(home: Home, slug: str) -> dict[str, int]:
    document = flask_json(home, "customers", "retention", slug)
    return {name: document[f"{name}_days"] for name in KEPT}


def test_retention_is_changed_one_by_one_and_given_back(home: Home, slug: str) -> None:
    home.add(slug)
    assert kept(home, slug) == {"results": 3650, "quarantine": 90, "ids": 7}
    changed = flask(home, "customers", "retention", slug, "--results", "30", "--ids", "14", *WHO)
    assert changed.exit_code == Exit.OK
    assert "3,650 → 30 days" in changed.stderr
    assert "batch ids" in changed.stderr
    assert "quarantined" not in changed.stderr
    assert kept(home, slug) == {"results": 30, "quarantine": 90, "ids": 14}
    back = flask(
        home, "customers", "retention", slug, *(word for name in KEPT for word in (f"--{name}", "none"))
    )
    assert back.exit_code == Exit.OK
    assert kept(home, slug) == {"results": 3650, "quarantine": 90, "ids": 7}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--ids", "3"], Exit.REFUSED, "would count twice"),
        (["--quarantine", "5"], Exit.REFUSED, "no receipt"),
        (["--ids", "100"], Exit.REFUSED, "no receipt"),
        (["--ids", "366"], Exit.REFUSED, "1 to 365 days"),
        (["--results", "40000"], Exit.REFUSED, "36,500"),
        (["--results", "0"], Exit.USAGE, "whole number"),
        (["--quarantine", "ten"], Exit.USAGE, "whole number"),
    ],
)
def test_a_retention_that_breaks_a_promise_is_refused(
    home: Home, slug: str, words: list[str], code: Exit, said: str
) -> None:
    home.add(slug)
    before = kept(home, slug)
    refused = flask(home, "customers", "retention", slug, *words)
    assert (refused.exit_code, said in refused.stderr) == (code, True), refused.stderr
    assert kept(home, slug) == before


def test_a_customers_own_days_decide_what_is_pruned(home: Home, slug: str) -> None:
    """Two customers with the same rows of ten days ago: ids, and quarantine of a hundred days ago."""
    settings = DatabaseSettings(url=home.environment["DATABASE_URL"])
    now = now_us(home.engine)
    for name, words in ((f"{slug}-own", ["--ids", "20", "--quarantine", "120"]), (f"{slug}-all", [])):
        home.add(name)
        if words:
            assert flask(home, "customers", "retention", name, *words).exit_code == Exit.OK
        _fill(home, name, now)
    prune(home.engine, settings, now)
    left = {
        name: (_ids(home, f"{slug}-{name}"), _quarantined(home, f"{slug}-{name}")) for name in ("own", "all")
    }
    assert left == {"own": ({"old", "new"}, 1), "all": ({"new"}, 0)}


def _fill(home: Home, slug: str, now: int) -> None:
    with read(home.engine) as conn:
        customer = get(conn, slug)
    assert customer is not None
    epoch = ledger_rows.claim(home.engine, customer)
    old, new = now - 10 * DAY_US, now
    reused = ledger_rows.new_quarantine(2, created_at=now - 100 * DAY_US)
    ledger_rows.record(
        home.engine,
        customer,
        epoch,
        0,
        2,
        window=ledger_rows.new_window(0, 2, skipped=[2], batches=2, created_at=old),
        batches=[
            ledger_rows.new_batch(0, batch_id="old", accepted_at=old),
            ledger_rows.new_batch(1, batch_id="new", accepted_at=new),
        ],
        reused=[reused],
    )


def _ids(home: Home, slug: str) -> set[Any]:
    return {row.batch_id for row in _rows(home, "batches", slug)}


def _quarantined(home: Home, slug: str) -> int:
    return len(_rows(home, "quarantine", slug))


def _rows(home: Home, table: str, slug: str) -> Any:
    found = metadata.tables[table]
    with read(home.engine) as conn:
        query = select(found).join(customers, customers.c.id == found.c.customer_id)
        return conn.execute(query.where(customers.c.slug == slug)).all()


def test_keys_are_named_by_their_digest_and_the_last_one_is_asked_for(home: Home, slug: str) -> None:
    first = home.add(slug)
    second = flask(home, "customers", "rotate-key", slug).stdout.strip()
    ids = [digest(key).hex()[:ID_DIGITS] for key in (first, second)]
    assert [key["key_id"] for key in flask_json(home, "customers", "keys", slug)["keys"]] == ids
    table = flask(home, "customers", "keys", slug).stdout
    assert all(one in table for one in ids)
    assert not any(key[-20:] in table for key in (first, second))

    revoke = ("customers", "revoke-key", slug)
    assert flask(home, *revoke, "0" * ID_DIGITS).exit_code == Exit.NOT_FOUND
    assert flask(home, *revoke, ids[0], *WHO).exit_code == Exit.OK
    assert flask(home, *revoke, ids[0], *WHO).exit_code == Exit.NOT_FOUND
    asked = flask(home, *revoke, ids[1], *WHO, stdin="n\n")
    assert (asked.exit_code, "last key" in asked.stderr) == (Exit.REFUSED, True)
    assert flask(home, *revoke, ids[1], *WHO).exit_code == Exit.REFUSED, "nobody answers"
    assert len(flask_json(home, "customers", "keys", slug)["keys"]) == 1
    assert flask(home, *revoke, ids[1], *WHO, stdin="y\n").exit_code == Exit.OK
    assert flask_json(home, "customers", "keys", slug)["keys"] == []
    assert flask(home, "customers", "rotate-key", slug).exit_code == Exit.OK


def test_a_revoked_key_is_refused_and_the_other_is_not(home: Home, receiver: Receiver, slug: str) -> None:
    first = home.add(slug)
    second = flask(home, "customers", "rotate-key", slug).stdout.strip()
    body = b'{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}\n'
    assert receiver.post(first, body).status_code == 202
    assert flask(home, "customers", "revoke-key", slug, digest(first).hex()[:ID_DIGITS]).exit_code == Exit.OK
    until(lambda: receiver.post(first, body).status_code == 401, "the receiver to refuse the key")
    assert receiver.post(second, body).status_code == 202


def test_a_drop_asks_and_says_who_and_why(home: Home, slug: str) -> None:
    home.add(slug)
    drop = ("customers", "drop", slug)
    assert flask(home, *drop).exit_code == Exit.USAGE
    assert flask(home, *drop, "--by", "anna", "--why", " ").exit_code == Exit.USAGE
    for answer in ("n\n", ""):
        assert flask(home, *drop, *WHO, stdin=answer).exit_code == Exit.REFUSED
        assert flask_json(home, "customers", "show", slug)["state"] == "active"
    assert flask(home, *drop, *WHO, stdin="y\n").exit_code == Exit.OK
    assert flask_json(home, "customers", "show", slug)["state"] == "dropping"


def test_what_was_done_about_a_customer_is_kept_with_who_and_why(home: Home, slug: str) -> None:
    home.add(slug)
    assert flask_json(home, "customers", "show", slug)["last_note"] is None
    assert flask(home, "customers", "pause", slug, "--by", "anna", "--why", "a fair").exit_code == Exit.OK
    assert flask(home, "customers", "retention", slug, "--results", "30", "--by", "bo").exit_code == Exit.OK
    assert flask(home, "customers", "resume", slug, "--by", "cy").exit_code == Exit.OK
    notes = flask_json(home, "customers", "history", slug)["notes"]
    assert [(one["act"], one["who"], one["why"], one["changes"]) for one in notes] == [
        ("pause", "anna", "a fair", {"was": "active"}),
        ("retention", "bo", "", {"results": [3650, 30]}),
        ("resume", "cy", "", {"was": "paused", "accept_failures": False}),
    ]
    assert all(one["noted_at"].endswith("Z") for one in notes)
    assert flask_json(home, "customers", "show", slug)["last_note"] == notes[-1]
    assert "resume by cy" in flask(home, "customers", "show", slug).stdout
    table = flask(home, "customers", "history", slug).stdout
    assert "a fair" in table


def test_who_did_it_is_the_user_of_the_system_unless_said(home: Home, slug: str) -> None:
    home.add(slug)
    assert flask(home, "customers", "block", slug, LOGNAME="operator-7").exit_code == Exit.OK
    assert flask_json(home, "customers", "show", slug)["last_note"]["who"] == "operator-7"


def test_what_an_operator_writes_makes_no_line_of_its_own(home: Home, slug: str) -> None:
    home.add(slug)
    why = "a fair\nstate                      blocked"
    assert flask(home, "customers", "pause", slug, "--by", "anna", "--why", why).exit_code == Exit.OK
    lines = flask(home, "customers", "show", slug).stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("state")] == [["state", "paused"]]
