"""`flask quarantine replay|export|discard`: which rows they choose, what they leave, what they say."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import db.customers.rows
from db.engine import begin, read
from db.retention.forgetting import delete_quarantined
from streams import decode_envelope, raw
from tests.commands import flask, flask_json
from tests.integration import ledger_rows
from tests.receiver import Home
from webapp.terminal.exits import Exit

DAY_US = 86_400_000_000
JAN_15_US = 1_768_435_200_000_000
ROWS: list[dict[str, Any]] = [
    {"reason": "batch_id_reused", "bytes": b"first"},
    {
        "reason": "unknown_format",
        "bytes": b"\x1f\x8b zipped at noon",
        "format": "arrow",
        "content_encoding": "gzip",
    },
    {"reason": "not_an_envelope", "bytes": b"garbage", "format": ""},
    {"reason": "expired", "bytes": b"", "format": "", "batch_id": ""},
    {"reason": "batch_id_reused", "bytes": b"late", "created_at": JAN_15_US + DAY_US},
]
DISCARD = ("--by", "ann", "--why", "agreed with the customer")


@pytest.fixture
def held(home: Home, slug: str) -> str:
    """A customer with five rows in quarantine."""
    home.add(slug)
    home.broker.publish_all(raw(slug), [b"garbage"] * len(ROWS), deadline_s=10)
    with read(home.engine) as connection:
        customer = db.customers.rows.get(connection, slug)
    assert customer is not None
    rows = [ledger_rows.new_quarantine(at, **{"created_at": JAN_15_US} | row) for at, row in enumerate(ROWS)]
    last = len(ROWS) - 1
    window = ledger_rows.new_window(0, last, skipped=list(range(len(ROWS))), batches=0)
    epoch = ledger_rows.claim(home.engine, customer)
    ledger_rows.record(home.engine, customer, epoch, 0, last, window=window, batches=[], reused=rows)
    return slug


def rows(home: Home, slug: str) -> list[dict[str, Any]]:
    """Oldest first."""
    found = flask_json(home, "quarantine", "list", "--customer", slug)["quarantine"]
    return sorted(found, key=lambda row: int(row["id"]))


def states(home: Home, slug: str) -> list[str]:
    return [row["state"] for row in rows(home, slug)]


def results(home: Home, slug: str) -> Any:
    """The part of the books that adds up quarantine; they have to balance."""
    document = flask_json(home, "books", "--customer", slug, "--results")
    assert document["balanced"] is True, document
    return document["customers"][0]["results"]["quarantined_batches"]


def act(home: Home, command: str, slug: str, *options: str, stdin: str | None = None) -> Any:
    return flask(home, "quarantine", command, "--customer", slug, *options, stdin=stdin)


def test_a_replay_sends_what_it_can_and_names_what_it_cannot(home: Home, held: str) -> None:
    said = act(home, "replay", held, "--by", "ann", "--why", "new workers")
    assert said.exit_code == Exit.OK
    ids = [str(row["id"]) for row in rows(home, held)]
    assert "replayed 3 batches and 0 events" in said.stderr
    assert f"skipped row {ids[2]} " in said.stderr
    assert f"skipped row {ids[3]} (batch unknown): there are no bytes of it (expired)" in said.stderr
    assert states(home, held) == ["replayed", "replayed", "kept", "kept", "replayed"]
    sent = home.broker.read(raw(held), len(ROWS), len(ROWS) + 2, deadline_s=10)
    assert len(sent) == 3
    second = rows(home, held)[1]
    digest = hashlib.sha256(ROWS[1]["bytes"][:4] + b"\0\0\0\0" + ROWS[1]["bytes"][8:]).hexdigest()
    assert second["replayed_as"] == f"replay-{ids[1]}-{digest}"
    assert "by ann: new workers" in flask(home, "quarantine", "show", ids[1]).stdout
    assert results(home, held) == {"kept": 2, "replayed": 3, "discarded": 0, "pruned": 0}


def test_the_envelope_of_a_replay_is_that_of_the_batch(home: Home, held: str) -> None:
    row = rows(home, held)[1]
    assert act(home, "replay", held, "--id", str(row["id"])).exit_code == Exit.OK
    [message] = home.broker.read(raw(held), len(ROWS), len(ROWS), deadline_s=10)
    envelope = decode_envelope(message.data)
    assert (envelope.format, envelope.content_encoding) == ("arrow", "gzip")
    assert envelope.content_type == "application/vnd.apache.arrow.stream"
    assert (bytes(envelope.body), envelope.came_at_us) == (ROWS[1]["bytes"], ledger_rows.NOW_US)
    assert envelope.accepted_at_us > JAN_15_US
    assert (envelope.customer, envelope.discarded) == (held, False)


CHOICES = {
    "a reason": (["--reason", "batch_id_reused"], [0, 4]),
    "a day": (["--since", "2026-01-16"], [4]),
    "a time with its zone": (["--since", "2026-01-15T01:00+01:00"], [0, 1, 2, 3, 4]),
    "both": (["--reason", "unknown_format", "--since", "2026-01-16T00:00:00Z"], []),
    "ids": (["--id", "{0}", "--id", "{3}"], [0, 3]),
    "an id and another's reason": (["--id", "{0}", "--reason", "expired"], []),
}


@pytest.mark.parametrize("case", CHOICES)
def test_only_the_chosen_rows_are_discarded_and_stay_accounted_for(home: Home, held: str, case: str) -> None:
    words, chosen = CHOICES[case]
    ids = [str(row["id"]) for row in rows(home, held)]
    said = act(home, "discard", held, *(word.format(*ids) for word in words), *DISCARD, "--yes")
    assert (said.exit_code, f"discarded {len(chosen)} rows" in said.stderr) == (Exit.OK, True)
    found = rows(home, held)
    assert [at for at, row in enumerate(found) if row["state"] == "discarded"] == chosen
    assert all(found[at]["size"] == 0 for at in chosen)
    for at in chosen:
        assert "by ann: agreed with the customer" in flask(home, "quarantine", "show", ids[at]).stdout
    kept = len(ROWS) - len(chosen)
    assert results(home, held) == {"kept": kept, "replayed": 0, "discarded": len(chosen), "pruned": 0}
    assert flask(home, "verify", held).exit_code == Exit.OK
    for at in chosen:
        assert act(home, "replay", held, "--id", ids[at]).exit_code == Exit.REFUSED
        assert act(home, "discard", held, "--id", ids[at], *DISCARD).exit_code == Exit.OK


@pytest.mark.parametrize(("answer", "left"), [("n\n", "kept"), ("", "kept"), ("y\n", "discarded")])
def test_a_discard_asks_and_nobody_to_answer_is_no(home: Home, held: str, answer: str, left: str) -> None:
    one = str(rows(home, held)[0]["id"])
    said = act(home, "discard", held, "--id", one, *DISCARD, stdin=answer)
    assert "Delete 5 bytes in 1 rows" in said.stderr
    assert said.exit_code == (Exit.OK if left == "discarded" else Exit.REFUSED)
    assert states(home, held)[0] == left


def test_an_export_is_a_folder_of_files_and_an_index(home: Home, held: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    ids = [row["id"] for row in rows(home, held)]
    act(home, "discard", held, "--id", str(ids[4]), *DISCARD, "--yes")
    said = act(home, "export", held, "--to", str(folder), "--by", "ann")
    assert (said.exit_code, "exported 4 rows" in said.stderr) == (Exit.OK, True)
    index = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    names = [f"{ids[0]}.ndjson", f"{ids[1]}.arrow.gz", f"{ids[2]}.bin", None]
    assert [(row["id"], row["file"]) for row in index] == list(zip(ids[:4], names, strict=True))
    assert {path.name for path in folder.iterdir()} == {"index.jsonl", *filter(None, names)}
    for row, kept in zip(index, ROWS, strict=False):
        assert (row["customer"], row["reason"], row["size"]) == (held, kept["reason"], len(kept["bytes"]))
        assert row["sha256"] == hashlib.sha256(kept["bytes"]).hexdigest()
        assert row["created_at"] == "2026-01-15T00:00:00.000000Z"
        if row["file"]:
            assert (folder / row["file"]).read_bytes() == kept["bytes"]
    assert [path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())] == [0] * 5
    assert states(home, held) == ["kept"] * 4 + ["discarded"]
    assert "by ann" in flask(home, "quarantine", "show", str(ids[0])).stdout


@pytest.mark.parametrize("there", ["folder", "file", "dangling link"])
def test_an_export_never_writes_over_anything(home: Home, held: str, tmp_path: Path, there: str) -> None:
    target = tmp_path / "out"
    match there:
        case "folder":
            target.mkdir()
        case "file":
            target.write_text("mine")
        case _:
            target.symlink_to(tmp_path / "nowhere")
    assert act(home, "export", held, "--to", str(target)).exit_code == Exit.REFUSED
    assert [path.name for path in tmp_path.iterdir() if path.name != "sluice.db"] == ["out"]
    assert target.is_symlink() or target.is_file() or list(target.iterdir()) == []


def test_an_export_that_cannot_be_written_leaves_nothing(home: Home, held: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = act(home, "export", held, "--to", str(tmp_path / "file" / "out"))
    assert (said.exit_code, len(said.stderr.splitlines())) == (Exit.REFUSED, 1)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "since",
    ["yesterday", "2026-13-01", "2026-02-30", "20260115", "2026-01-15T14:03", "2026-W03", "1768435200", ""],
)
def test_a_time_that_leaves_a_doubt_is_refused(home: Home, held: str, since: str) -> None:
    for command, more in (("replay", ()), ("discard", (*DISCARD, "--yes"))):
        assert act(home, command, held, "--since", since, *more).exit_code == Exit.USAGE
    assert states(home, held) == ["kept"] * 5


@pytest.mark.parametrize(
    "words",
    [
        DISCARD,
        ["--reason", "expired", "--by", "ann"],
        ["--reason", "expired", "--why", "because"],
        ["--reason", "expired", "--by", " ", "--why", "because"],
    ],
)
def test_a_discard_needs_rows_a_name_and_a_reason(home: Home, held: str, words: list[str]) -> None:
    assert act(home, "discard", held, *words, "--yes").exit_code == Exit.USAGE
    assert states(home, held) == ["kept"] * 5


def test_rows_of_another_customer_cannot_be_named(home: Home, held: str, slug: str, tmp_path: Path) -> None:
    other = f"{slug}-other"
    home.add(other)
    theirs = str(rows(home, held)[0]["id"])
    for command, more in (
        ("replay", []),
        ("export", ["--to", str(tmp_path / "out")]),
        ("discard", [*DISCARD, "--yes"]),
    ):
        assert act(home, command, other, "--id", theirs, *more).exit_code == Exit.NOT_FOUND
        assert act(home, command, held, "--id", "999999", *more).exit_code == Exit.NOT_FOUND
        assert act(home, command, f"{slug}-none", *more, "--reason", "x").exit_code == Exit.NOT_FOUND
    assert states(home, held) == ["kept"] * 5


def test_a_replay_without_a_broker_marks_nothing(home: Home, held: str) -> None:
    words = ("quarantine", "replay", "--customer", held)
    url = "rabbitmq-stream://guest:guest@127.0.0.1:9/%2f"
    assert flask(home, *words, STREAM_URL=url).exit_code == Exit.UNAVAILABLE
    assert states(home, held) == ["kept"] * 5


def test_what_was_pruned_is_counted_and_called_unprovable(home: Home, held: str) -> None:
    assert flask_json(home, "verify", held)["unprovable"] == 0
    with begin(home.engine) as connection:
        customer = db.customers.rows.get(connection, held)
        assert customer is not None
        assert delete_quarantined(connection, customer.id, JAN_15_US + 1, 1_000) == 4
    assert results(home, held) == {"kept": 1, "replayed": 0, "discarded": 0, "pruned": 4}
    proof = flask_json(home, "verify", held)
    assert (proof["unprovable"], proof["differences"]) == (4, [])
    with begin(home.engine) as connection:  # above what was pruned nothing is forgiven
        connection.execute(text("DELETE FROM quarantine WHERE customer_id = :of"), {"of": customer.id})
    assert flask(home, "verify", held).exit_code == Exit.DIFFERS


def test_who_replayed_is_the_user_of_the_system_unless_it_is_said(home: Home, held: str) -> None:
    flask(home, "quarantine", "replay", "--customer", held, LOGNAME="bob")
    with home.engine.connect() as connection:
        who = connection.execute(
            text(
                "SELECT DISTINCT who FROM quarantine_notes"
                " WHERE customer_id = (SELECT id FROM customers WHERE slug = :slug)"
            ),
            {"slug": held},
        ).scalars()
        assert list(who) == ["bob"]
