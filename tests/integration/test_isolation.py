"""One customer's key and one customer's name never read or change anything of another customer.

Every route and every command is found in the application itself: a new one fails here until it is covered.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from db.customers.keys import ID_DIGITS, digest
from db.tables import metadata
from streams import processed, raw
from tests.commands import flask
from tests.filled import OF_NO_CUSTOMER, Filled, everything, fill
from tests.receiver import Home, Receiver
from tests.unit.test_webapp_surface import commands
from webapp import create_app
from webapp.terminal.exits import Exit


@pytest.fixture(scope="module")
def theirs(home: Home) -> Filled:
    """The customer that nothing may touch."""
    return fill(home, f"b-{secrets.token_hex(6)}", f"secret-{secrets.token_hex(8)}")


@pytest.fixture
def mine(home: Home, slug: str) -> Filled:
    """The customer whose key and name are used."""
    return fill(home, slug, f"own-{secrets.token_hex(8)}")


@pytest.fixture(scope="module")
def application(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment.items():
            patch.setenv(name, value)
        app = create_app()
    yield app
    app.extensions["sluice"].close()


def test_every_table_says_whose_its_rows_are(home: Home, theirs: Filled) -> None:
    without = {table.name for table in metadata.sorted_tables if "customer_id" not in table.c}
    assert without == OF_NO_CUSTOMER | {"customers"}
    empty = {name for name, rows in everything(home, theirs.customer).items() if not rows}
    assert not empty, "nothing would be noticed in these: let tests/filled.py fill them"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Words of a command after its name; {me}, {own_key}, {other}, {batch}, {row}, {key} and {folder} are
    filled in.

    `batch`, `row` and `key` are the other customer's.
    """

    words: str
    code: Exit = Exit.OK
    changes: bool = False
    stdin: str | None = None


def change(words: str, **more: Any) -> Attempt:
    return Attempt(words=words, changes=True, **more)


ABOUT_A_CUSTOMER = {
    "books": [
        Attempt(
            words="--customer {me} --json --results",
        ),
        Attempt(words="--customer {me}"),
    ],
    "customers add": [
        Attempt(words="{me}", code=Exit.REFUSED),
        change("{me} --exist-ok --key-file {folder}/key-of-other"),
    ],
    "customers block": [change("{me}")],
    "customers delete": [
        Attempt(words="{me} --by me --why so", code=Exit.REFUSED),
    ],
    "customers drop": [
        Attempt(words="{me} --by me --why so", code=Exit.REFUSED),
        change("{me} --by me --why so --yes"),
    ],
    "customers history": [Attempt(words="{me}"), Attempt(words="{me} --json")],
    "customers keys": [Attempt(words="{me}"), Attempt(words="{me} --json")],
    "customers limit": [change("{me} --batches-per-second 7 --daily-bytes none")],
    "customers pause": [change("{me}")],
    "customers resume": [change("{me}")],
    "customers retention": [
        Attempt(words="{me}"),
        Attempt(words="{me} --ids 1", code=Exit.REFUSED),
        change("{me} --results 30 --quarantine 40"),
    ],
    "customers revoke-key": [
        Attempt(words="{me} {key}", code=Exit.NOT_FOUND),
        change("{me} {own_key} --yes"),
    ],
    "customers public-keys": [Attempt(words="{me}"), Attempt(words="{me} --json")],
    "customers add-public-key": [
        Attempt(words="{me}", code=Exit.REFUSED),
        change("{me} --origin https://shop.example"),
    ],
    "customers revoke-public-key": [Attempt(words="{me} pk_{other}_x", code=Exit.NOT_FOUND)],
    "customers rotate-key": [change("{me}"), change("{me}"), change("{me} --key-file {folder}/key")],
    "customers route": [
        Attempt(words="{me} decode customer-{other}", code=Exit.REFUSED),
        change("{me} decode {me}-decode"),
        change("{me} decode"),
    ],
    "customers show": [Attempt(words="{me}"), Attempt(words="{me} --json")],
    "lag": [Attempt(words="--customer {me}"), Attempt(words="--customer {me} --json")],
    "pipeline set": [change("{me} -", stdin='{"steps": [{"step": "compose"}]}')],
    "pipeline show": [Attempt(words="{me}"), Attempt(words="{me} --version 3", code=Exit.NOT_FOUND)],
    "quarantine list": [
        Attempt(words="--customer {me} --json"),
        Attempt(words="--customer {me} --reason batch_id_reused"),
    ],
    "quarantine replay": [
        Attempt(words="--customer {me} --id {row}", code=Exit.NOT_FOUND),
        change("--customer {me} --json"),
    ],
    "quarantine export": [
        Attempt(words="--customer {me} --id {row} --to {folder}/out", code=Exit.NOT_FOUND),
        change("--customer {me} --to {folder}/out"),
    ],
    "quarantine discard": [
        Attempt(words="--customer {me} --id {row} --by me --why so --yes", code=Exit.NOT_FOUND),
        change("--customer {me} --since 2000-01-01 --by me --why so --yes"),
    ],
    "receipt": [
        Attempt(words="{me} {batch}", code=Exit.NOT_FOUND),
        Attempt(words="{me} {other}-waits", code=Exit.NOT_FOUND),
    ],
    "ring": [change("{me}")],
    "trace": [Attempt(words="{me} " + "02" * 16), Attempt(words="{me} " + "03" * 16, code=Exit.NOT_FOUND)],
    "verify": [Attempt(words="{me}"), Attempt(words="{me} --json")],
}
OPERATORS_OWN = {
    "customers list": "names everybody",
    "queues list": "names queues that no customer uses",
    "queues remove": "removes one of them",
    "query": "asks what the operator wrote",
    "quarantine show": "takes the id of a row, whoever's it is",
    "doctor": "looks at the whole installation",
    "watch": "shows the worst off of all",
}


def test_every_command_is_either_about_one_customer_or_about_all(application: Any) -> None:
    assert commands(application.cli) == set(ABOUT_A_CUSTOMER) | set(OPERATORS_OWN)
    assert {words for words in commands(application.cli) if _names_a_customer(application.cli, words)} == set(
        ABOUT_A_CUSTOMER
    )


@pytest.mark.parametrize("command", ABOUT_A_CUSTOMER)
def test_a_command_about_one_customer_leaves_the_others_alone(
    home: Home, mine: Filled, theirs: Filled, command: str, tmp_path: Path
) -> None:
    (tmp_path / "key-of-other").write_text(theirs.key)
    names = {
        "me": mine.customer.slug,
        "other": theirs.customer.slug,
        "batch": theirs.batch_id,
        "row": theirs.quarantine_ids[0],
        "key": digest(theirs.key).hex()[:ID_DIGITS],
        "own_key": digest(mine.key).hex()[:ID_DIGITS],
        "folder": tmp_path,
    }
    before = everything(home, theirs.customer)
    for attempt in ABOUT_A_CUSTOMER[command]:
        own = everything(home, mine.customer)
        said = flask(home, *command.split(), *attempt.words.format(**names).split(), stdin=attempt.stdin)
        assert said.exit_code == attempt.code, said.output
        assert (everything(home, mine.customer) != own) == attempt.changes, "it did not do what it is to do"
        assert theirs.secret not in said.output
    assert everything(home, theirs.customer) == before
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert theirs.secret.encode() not in written


@dataclass(frozen=True, kw_only=True)
class ForeignRequest:
    """What is sent with the first customer's key; {other} and {batch} are the other's slug and batch id."""

    body: bytes | None = None
    content_type: str = ""
    path: str = ""  # else the rule's
    statuses: tuple[int, ...] = (200,)
    accepted: bool = False


NDJSON = b'{"customer": "{other}", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}\n'
JSON, LINES = "application/json", "application/x-ndjson"
OF_ANOTHER = "/v1/batches?customer={other}&slug={other}&key={other}"
REQUESTS = {
    ("POST", "/v1/batches"): [
        ForeignRequest(body=NDJSON, content_type=LINES, statuses=(202,), accepted=True),
        ForeignRequest(body=NDJSON, content_type=LINES, path=OF_ANOTHER, statuses=(202,), accepted=True),
    ],
    ("POST", "/v1/traces"): [ForeignRequest(body=b'{"resourceSpans": []}', content_type=JSON, accepted=True)],
    ("POST", "/v1/logs"): [ForeignRequest(body=b'{"resourceLogs": []}', content_type=JSON, accepted=True)],
    ("POST", "/v1/metrics"): [ForeignRequest(body=b"{}", content_type=JSON, statuses=(404,))],
    ("GET", "/problems/<slug>"): [
        ForeignRequest(path="/problems/customer-blocked"),
        ForeignRequest(path="/problems/{other}", statuses=(404,)),
        ForeignRequest(path="/problems/{batch}", statuses=(404,)),
    ],
    ("GET", "/healthz"): [ForeignRequest()],
    ("GET", "/readyz"): [ForeignRequest()],
}


def test_every_route_is_covered(application: Any) -> None:
    routes = {
        (method, rule.rule)
        for rule in application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == set(REQUESTS)


@pytest.mark.parametrize(("method", "rule"), REQUESTS)
def test_a_key_reads_and_changes_nothing_of_another_customer(
    home: Home, receiver: Receiver, mine: Filled, theirs: Filled, method: str, rule: str
) -> None:
    receiver.post(theirs.key, NDJSON)
    before = everything(home, theirs.customer)
    for request in REQUESTS[method, rule]:
        own = everything(home, mine.customer)
        assert theirs.customer.slug in receiver.metrics(), "its name is known here, and could be given away"
        for verb in (method, "OPTIONS"):
            answer = _send(receiver, verb, rule, request, mine, theirs)
            assert answer.status_code in (request.statuses if verb == method else (200, 204, 404))
            said = answer.content + json.dumps(dict(answer.headers)).encode()
            assert theirs.secret.encode() not in said
            assert theirs.customer.slug.encode() not in said or rule == "/problems/<slug>"
        grown = everything(home, mine.customer)
        assert len(grown[raw(mine.customer.slug)]) - len(own[raw(mine.customer.slug)]) == request.accepted
        if request.accepted:
            assert home.envelopes(mine.customer.slug)[-1].customer == mine.customer.slug
        written = {"usage", raw(mine.customer.slug)}  # what a receiver writes
        assert {name for name in grown if grown[name] != own[name]} <= written
    assert everything(home, theirs.customer) == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_no_other_path_or_method_answers_with_what_is_anothers(
    home: Home, receiver: Receiver, mine: Filled, theirs: Filled, method: str
) -> None:
    other = theirs.customer.slug
    receiver.post(theirs.key, NDJSON)
    before = everything(home, theirs.customer)
    for path in (
        *("/metrics", "/metrics/", "/metrics?customer=" + other, "//metrics", "/v1/../metrics"),
        *(f"/v1/customers/{other}", f"/v1/batches/{theirs.batch_id}", f"/v1/quarantine/{other}"),
        *(f"/{raw(other)}", f"/{processed(other)}", "/v1/../v1/batches/" + theirs.batch_id),
    ):
        answer = receiver.client.request(method, receiver.url + path, headers=_key(mine))
        assert answer.status_code in (404, 405, 501)
        assert theirs.secret.encode() not in answer.content
        if other not in path:
            assert other.encode() not in answer.content
    assert everything(home, theirs.customer) == before


def _send(
    receiver: Receiver, method: str, rule: str, request: ForeignRequest, mine: Filled, theirs: Filled
) -> Any:
    names = {"other": theirs.customer.slug, "batch": theirs.batch_id}
    path = re.sub(r"\{(\w+)\}", lambda found: names[found[1]], request.path or rule)
    headers = _key(mine) | {"X-Customer": names["other"], "Forwarded": f"for={names['other']}"}
    if request.content_type:
        headers |= {"Content-Type": request.content_type, "Idempotency-Key": theirs.batch_id}
    body = None if request.body is None else request.body.replace(b"{other}", names["other"].encode())
    return receiver.client.request(method, receiver.url + path, content=body, headers=headers)


def _key(mine: Filled) -> dict[str, str]:
    return {"Authorization": f"Bearer {mine.key}"}


def _names_a_customer(group: click.Group, words: str) -> bool:
    found: click.Command = group
    for word in words.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return any(parameter.name in ("slug", "slugs") for parameter in found.params)
