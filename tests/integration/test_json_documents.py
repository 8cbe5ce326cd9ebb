"""What the commands print with --json: one document each, with one name for one thing in all of them."""

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from db.customers import public_keys
from db.customers.keys import ID_DIGITS, digest
from db.engine import read
from streams import processed
from tests.commands import flask
from tests.filled import Filled, fill
from tests.integration.result_tables import an_event
from tests.receiver import Home
from tests.unit.test_webapp_surface import commands
from webapp import create_app
from webapp.commands.watch import Watch
from webapp.settings import MIB
from webapp.terminal import deleted_customer, documents

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
OWN_WORDS = {"routes", "definition", "changes", "otlp"}
"""Objects whose names are not ours: stages, the words of a pipeline, those of an act, those of OTLP."""
EVERY = (
    ("customers add {new} {broken} --key-folder {folder}/keys", None),
    ("customers add {one}", None),
    ("customers pause {me} --why so", None),
    ("customers block {me}", None),
    ("customers drop {me} --by me --why so --yes", None),
    ("customers resume {me}", None),
    ("customers limit {me} --batches-per-second 7 --daily-bytes none", None),
    ("customers retention {me} --results 30", None),
    ("customers route {me} decode {me}-decode", None),
    ("customers rotate-key {me}", None),
    ("customers keys {me}", None),
    ("customers revoke-key {me} {own_key} --yes", None),
    ("customers add-public-key {me} --origin https://shop.example --days 1", None),
    ("customers public-keys {me}", None),
    ("customers revoke-public-key {me} {public_key}", None),
    ("customers show {me}", None),
    ("customers history {me}", None),
    ("customers list", None),
    ("pipeline set {me} -", '{"steps": [{"step": "compose"}]}'),
    ("pipeline show {me}", None),
    ("books --results", None),
    ("lag --top 1", None),
    ("quarantine list", None),
    ("quarantine show {row}", None),
    ("quarantine export --customer {me} --to {folder}/out", None),
    ("quarantine replay --customer {me}", None),
    ("quarantine discard --customer {me} --since 2000-01-01 --by me --why so --yes", None),
    ("query -", "SELECT service, count FROM rollups_view"),
    ("queues list", None),
    ("queues remove {me}-left", None),
    ("ring {me}", None),
    ("receipt {me} {batch}", None),
    ("trace {me} {trace}", None),
    ("verify {me}", None),
    ("doctor", None),
    ("customers delete {one} --by me --why so --yes", None),
)
ELSEWHERE = {"watch"}
"""It never ends, and is asked for its document."""


@pytest.fixture(scope="module")
def filled(home: Home) -> Filled:
    return fill(home, f"t-{secrets.token_hex(6)}", f"own-{secrets.token_hex(8)}")


@pytest.fixture(scope="module")
def printed(home: Home, filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The document of each command, by its words."""
    slug = filled.customer.slug
    home.broker.declare(processed(f"{slug}-broken"), max_bytes=99 * MIB, max_age_s=9, segment_bytes=MIB)
    with Connection(home.environment["BROKER_URL"]) as connection:
        connection.channel().queue_declare(f"{slug}-left", durable=True, auto_delete=False)
    with read(home.engine) as conn:
        [public_key] = public_keys.live(conn, filled.customer.id)
    words = {
        "me": slug,
        "public_key": public_key.key,
        "new": f"{slug}-new",
        "one": f"{slug}-one",
        "broken": f"{slug}-broken",
        "own_key": digest(filled.key).hex()[:ID_DIGITS],
        "row": str(filled.quarantine_ids[0]),
        "batch": filled.batch_id,
        "trace": an_event()["trace_id"].hex(),
        "folder": str(tmp_path_factory.mktemp("documents")),
    }
    found = {}
    # Nobody serves a customer here: there is no process to wait for.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deleted_customer, "EVERYWHERE_S", 0.0)
        for line, stdin in EVERY:
            said = flask(home, *line.format(**words).split(), "--json", stdin=stdin)
            assert said.stdout.count("\n") == 1, (line, said.output)
            found[line] = json.loads(said.stdout)
    watched = Watch(engine=home.engine, broker=home.broker).look().document()
    found["watch"] = documents.plain(watched)
    return found


def test_every_command_is_tried(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    app = create_app()
    app.extensions["sluice"].close()
    there = commands(app.cli)
    tried = {words for words in there if any(line.startswith(words) for line, _ in EVERY)}
    assert there - tried == ELSEWHERE


def test_every_name_is_on_the_page_and_every_name_of_the_page_is_printed(printed: dict[str, Any]) -> None:
    section = PAGE.read_text().partition("## The fields of JSON documents")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z0-9_]+)`", "\n".join(re.findall(r"^\| (.*?) \|", section, re.M))))
    assert {name for _, name, _ in fields(printed)} - set(printed) == listed


def test_one_name_has_one_kind_of_value(printed: dict[str, Any]) -> None:
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for where, name, value in fields(printed):
        if value is not None and name not in printed:
            kinds[name][kind(value)] = where
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_times_are_iso_8601_and_nothing_else_is_a_time(printed: dict[str, Any]) -> None:
    for where, name, value in fields(printed):
        is_time = isinstance(value, str) and TIME.fullmatch(value) is not None
        assert is_time is (name.endswith("_at") and value is not None), (where, name, value)


def test_whoever_is_named_is_a_customer_by_its_slug(printed: dict[str, Any], filled: Filled) -> None:
    named = {value for _, name, value in fields(printed) if name == "customer"}
    assert filled.customer.slug in named
    assert all(value.startswith("t-") for value in named)


def fields(value: Any, where: str = "", name: str = "") -> Iterator[tuple[str, str, Any]]:
    """The command, the name and the value of each field."""
    if name:
        yield where, name, value
    if isinstance(value, dict) and name not in OWN_WORDS:
        for key, each in value.items():
            yield from fields(each, where or key, key)
    if isinstance(value, list):
        for each in value:
            if isinstance(each, dict):
                yield from fields(each, where)


def kind(value: Any) -> str:
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )
