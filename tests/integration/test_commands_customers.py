"""`flask customers …` and `flask pipeline …` on a real database and broker."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from deploy.local import ports
from pipelines import DEFAULT
from streams import processed, raw
from tests.commands import RETENTION, flask, flask_json
from tests.receiver import Home
from webapp.settings import MIB
from webapp.terminal.exits import Exit


def test_add_makes_streams_a_key_and_the_default_pipeline(home: Home, slug: str) -> None:
    added = flask(home, "customers", "add", slug)
    assert added.exit_code == Exit.OK
    assert added.stdout.startswith(f"sl_{slug}_")
    assert home.broker.exists(raw(slug))
    assert home.broker.exists(processed(slug))
    shown = flask_json(home, "customers", "show", slug)
    assert (shown["state"], shown["pipeline_version"], shown["routes"]) == ("active", 1, {})
    assert flask(home, "pipeline", "show", slug).stdout.rstrip() == DEFAULT.rstrip()


def test_the_streams_have_the_retention_of_the_settings(home: Home, slug: str) -> None:
    flask(home, "customers", "add", slug)
    for stream in (raw(slug), processed(slug)):
        # Raises when the broker keeps other arguments than these.
        home.broker.declare(stream, max_bytes=64 * MIB, max_age_s=7 * 86_400, segment_bytes=16 * MIB)


def test_a_stream_with_other_retention_stops_the_add_with_the_reason(home: Home, slug: str) -> None:
    home.broker.declare(raw(slug), max_bytes=99 * MIB, max_age_s=3600, segment_bytes=16 * MIB)
    refused = flask(home, "customers", "add", slug)
    assert refused.exit_code == Exit.MISCONFIGURED
    assert raw(slug) in refused.stderr
    assert flask(home, "customers", "show", slug).exit_code == Exit.NOT_FOUND


def test_an_existing_customer_is_refused_unless_that_is_fine(home: Home, slug: str) -> None:
    first = flask(home, "customers", "add", slug)
    assert flask(home, "customers", "add", slug).exit_code == Exit.REFUSED
    again = flask(home, "customers", "add", slug, "--exist-ok")
    assert (again.exit_code, again.stdout) == (Exit.OK, "")
    assert first.stdout


def test_a_bad_slug_makes_no_stream(home: Home) -> None:
    assert flask(home, "customers", "add", "Not-A-Slug").exit_code == Exit.REFUSED
    assert not home.broker.exists(raw("Not-A-Slug"))


def test_the_key_file_is_the_owners_alone_and_keeps_a_valid_key(
    home: Home, slug: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys" / "one.key"
    add = ("customers", "add", slug, "--key-file", str(path))
    assert flask(home, *add).stdout == ""
    key = path.read_text()
    assert key.startswith(f"sl_{slug}_")
    assert path.stat().st_mode & 0o777 == 0o600
    assert flask(home, *add, "--exist-ok").exit_code == Exit.OK
    assert path.read_text() == key
    assert [found.name for found in path.parent.iterdir()] == ["one.key"]


def test_a_key_file_that_cannot_be_written_changes_nothing(home: Home, slug: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "one.key")
    said = flask(home, "customers", "add", slug, "--key-file", path)
    assert (said.exit_code, f"cannot be written to {path}: " in said.stderr) == (Exit.REFUSED, True)
    assert flask(home, "customers", "show", slug).exit_code == Exit.NOT_FOUND
    home.add(slug)
    before = flask(home, "customers", "keys", slug).stdout
    assert flask(home, "customers", "rotate-key", slug, "--key-file", path).exit_code == Exit.REFUSED
    assert flask(home, "customers", "keys", slug).stdout == before


@pytest.mark.parametrize("left", [None, "sl_other_key\n"])
def test_a_key_file_that_is_lost_or_foreign_gets_a_new_key(
    home: Home, slug: str, tmp_path: Path, left: str | None
) -> None:
    path = tmp_path / "key"
    flask(home, "customers", "add", slug)
    if left is not None:
        path.write_text(left)
    assert flask(home, "customers", "add", slug, "--exist-ok", "--key-file", str(path)).exit_code == Exit.OK
    assert path.read_text().startswith(f"sl_{slug}_")


def test_an_add_that_died_after_its_streams_is_repaired_by_the_next(home: Home, slug: str) -> None:
    for stream in (raw(slug), processed(slug)):
        home.broker.declare(stream, max_bytes=64 * MIB, max_age_s=7 * 86_400, segment_bytes=16 * MIB)
    assert flask(home, "customers", "add", slug).exit_code == Exit.OK


def test_a_missing_stream_is_made_again(home: Home, slug: str) -> None:
    flask(home, "customers", "add", slug)
    home.broker.delete(processed(slug))
    assert flask(home, "customers", "add", slug, "--exist-ok").exit_code == Exit.OK
    assert home.broker.exists(processed(slug))


def test_no_row_is_visible_before_its_streams_exist(home: Home, slug: str) -> None:
    away = f"amqp://guest:guest@127.0.0.1:{ports.free(1)[0]}//"
    assert flask(home, "customers", "add", slug, BROKER_URL=away).exit_code == Exit.UNAVAILABLE
    assert flask(home, "customers", "show", slug).exit_code == Exit.NOT_FOUND
    assert flask(home, "customers", "add", slug).exit_code == Exit.OK


@pytest.mark.parametrize(
    ("command", "state"),
    [("pause", "paused"), ("drop", "dropping"), ("block", "blocked"), ("resume", "active")],
)
def test_a_state_is_set_by_its_command(home: Home, slug: str, command: str, state: str) -> None:
    flask(home, "customers", "add", slug)
    words = ("--by", "me", "--why", "so", *(["--yes"] if command == "drop" else []))
    for _ in range(2):
        assert flask(home, "customers", command, slug, *words).exit_code == Exit.OK
        assert flask_json(home, "customers", "show", slug)["state"] == state


def test_a_stage_is_routed_and_brought_back(home: Home, slug: str) -> None:
    flask(home, "customers", "add", slug)
    assert flask(home, "customers", "route", slug, "decode", "fast").exit_code == Exit.OK
    assert flask_json(home, "customers", "show", slug)["routes"] == {"decode": "fast"}
    assert "decode=fast" in flask(home, "customers", "list").stdout
    assert flask(home, "customers", "route", slug, "decode").exit_code == Exit.OK
    assert flask_json(home, "customers", "show", slug)["routes"] == {}
    assert flask(home, "customers", "route", slug, "bake", "fast").exit_code == Exit.USAGE
    own = f"customer-{slug}"
    assert flask(home, "customers", "route", slug, "decode", own).exit_code == Exit.OK


def test_rotating_prints_a_new_key_once(home: Home, slug: str) -> None:
    first = flask(home, "customers", "add", slug).stdout
    second = flask(home, "customers", "rotate-key", slug).stdout
    assert second.startswith(f"sl_{slug}_")
    assert first != second
    with home.engine.connect() as connection:
        stored = connection.execute(text("SELECT digest FROM customer_keys")).scalars().all()
    assert second.strip().encode() not in b"".join(bytes(digest) for digest in stored)


def test_a_pipeline_is_checked_before_it_is_set(home: Home, slug: str, tmp_path: Path) -> None:
    flask(home, "customers", "add", slug)
    bad = flask(home, "pipeline", "set", slug, "-", stdin='{"steps": [{"step": "bake"}]}')
    assert (bad.exit_code, "nothing was changed" in bad.stderr) == (Exit.REFUSED, True)
    assert flask_json(home, "customers", "show", slug)["pipeline_version"] == 1
    file = tmp_path / "pipeline.json"
    file.write_text(json.dumps({"steps": [{"step": "compose"}]}))
    assert flask(home, "pipeline", "set", slug, str(file)).exit_code == Exit.OK
    assert flask_json(home, "customers", "show", slug)["pipeline_version"] == 2
    assert flask(home, "pipeline", "show", slug).stdout.strip() == file.read_text()
    assert flask(home, "pipeline", "show", slug, "--version", "1").stdout.rstrip() == DEFAULT.rstrip()
    assert flask(home, "pipeline", "show", slug, "--version", "9").exit_code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    "command",
    [
        *(["customers", name] for name in ("show", "pause", "resume", "block", "rotate-key")),
        *(["customers", name] for name in ("keys", "history", "retention")),
        ["customers", "drop", "--by", "me", "--why", "so"],
        ["customers", "revoke-key", "{slug}", "0123456789ab"],
        ["customers", "revoke-public-key", "{slug}", "pk_x"],
        *(["customers", name] for name in ("public-keys", "add-public-key")),
        ["customers", "route", "{slug}", "decode", "x"],
        *(["pipeline", "show"], ["books", "--customer"], ["lag", "--customer"], ["verify"]),
        ["receipt", "{slug}", "one"],
        ["trace", "{slug}", "0" * 32],
    ],
)
def test_an_unknown_customer_is_named_with_its_own_exit_code(
    home: Home, slug: str, command: list[str]
) -> None:
    words = [word.format(slug=slug) for word in command]
    result = flask(home, *(words if slug in words else [*words, slug]))
    assert (result.exit_code, slug in result.stderr) == (Exit.NOT_FOUND, True)
    assert len(result.stderr.splitlines()) == 1


def test_a_database_that_is_away_is_one_line_and_its_own_exit_code(home: Home) -> None:
    url = f"postgresql://nobody:secret@127.0.0.1:{ports.free(1)[0]}/none"
    result = flask(home, "customers", "list", DATABASE_URL=url)
    assert result.exit_code == Exit.UNAVAILABLE
    assert "secret" not in result.stderr
    assert RETENTION


@pytest.mark.parametrize(
    "queue",
    [
        *("raw.demo-a", "processed.demo-a", "amq.gen-x", "worker@host.celery.pidbox", "celeryev.x", ""),
        *("shared", "customer-demo-a", "customer-", "Decode", "decode-", "de code", "d" * 101, "d\x00"),
    ],
)
def test_a_route_to_what_is_no_queue_of_the_customers_is_refused(home: Home, slug: str, queue: str) -> None:
    home.add(slug)
    said = flask(home, "customers", "route", slug, "decode", queue)
    assert said.exit_code == Exit.REFUSED
    shown = json.loads(flask(home, "customers", "show", slug, "--json").stdout)
    assert shown["routes"] == {}
