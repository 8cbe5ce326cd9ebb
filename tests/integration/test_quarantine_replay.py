"""Replaying what is in quarantine: each row once, wherever the command dies and however many run at once."""

import contextlib
import gzip
import hashlib
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from db.clock import now_us
from deploy.local.rabbitmq import RabbitNode
from streams import raw
from tests import receiver
from tests.commands import flask, flask_json
from tests.envelopes import envelope
from tests.integration.test_whole import event, ndjson
from tests.live import EACH, MINE, Live
from tests.unit import decode_samples as samples
from tests.whole import running, until
from webapp.terminal.exits import Exit

RAISED = {
    "timeUnixNano": "1700000000000000123",
    "name": "exception",
    "attributes": [{"key": "exception.type", "value": {"stringValue": "KeyError"}}],
}
LINK = {"traceId": "0a" * 16, "spanId": "0b" * 8, "attributes": [{"key": "n", "value": {"intValue": "5"}}]}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def live(
    request: pytest.FixtureRequest, rabbitmq: RabbitNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp(request.param)
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            database_url = f"sqlite:///{folder / 'sluice.db'}"
            Path(folder / "sluice.db").write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        else:
            server, template = (
                request.getfixturevalue("postgres"),
                request.getfixturevalue("postgresql_template"),
            )
            name = f"test_{secrets.token_hex(6)}"
            database_url = server.create_database(name, template=template)
            stack.callback(server.drop_database, name)
        urls = {"amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
        whole = stack.enter_context(running(folder, database_url=database_url, **urls))
        home = stack.enter_context(receiver.home(database_url, rabbitmq))
        yield Live(whole=whole, home=home)


def replay(live: Live, slug: str, *options: str) -> Any:
    return flask_json(live.home, "quarantine", "replay", "--customer", slug, *options)


def counted(slug: str, *, batches: int, events: int) -> dict[str, Any]:
    """What a replay says that sent these and skipped no row."""
    return {"customer": slug, "batches": batches, "events": events, "skipped_rows": []}


def test_a_replayed_batch_is_deposited_once_and_its_receipt_leads_there(live: Live, slug: str) -> None:
    live.refused_batches(slug, 2)
    first, other = (row["id"] for row in reversed(live.quarantined(slug)))
    assert replay(live, slug, "--id", str(first)) == counted(slug, batches=1, events=0)
    assert live.settled(slug)["deposited"] == 2
    assert [row["state"] for row in live.quarantined(slug)] == ["kept", "replayed"]
    for _ in range(2):
        replay(live, slug)
        books = live.settled(slug)
        assert (live.events(slug), books["deposited"], books["duplicates"]) == (3 * EACH, 3, 0)
        assert (books["quarantined"], books["results"]["quarantined_batches"]["replayed"]) == (2, 2)
    receipt = flask_json(live.home, "receipt", slug, "one")
    assert (receipt["state"], len(receipt["replays"])) == ("deposited", 2)
    of_replay = flask_json(live.home, "receipt", slug, receipt["replays"][0])
    assert (of_replay["state"], of_replay["replay_of"]) == ("deposited", "one")
    again = flask(live.home, "quarantine", "replay", "--customer", slug, "--id", str(other))
    assert (again.exit_code, receipt["replays"][1] in again.stderr) == (Exit.OK, True)


def test_a_resend_with_the_right_content_type_counts(live: Live, slug: str) -> None:
    key, body = live.add(slug), ndjson(*(event(secrets.token_hex(16)) for _ in range(EACH)))
    wrong = {"Content_Type": "application/vnd.apache.arrow.stream"}
    for headers in (wrong, {}, {}, wrong):
        assert live.whole.post_batch(key, body, **headers).status == 202
    books = live.settled(slug)
    assert (books["quarantined"], books["deposited"], books["duplicates"]) == (1, 1, 2)
    assert live.events(slug) == EACH


def test_a_retry_that_meets_a_receiver_of_another_release_counts_once(live: Live, slug: str) -> None:
    key = live.add(slug)
    bodies = [ndjson(*(event(secrets.token_hex(16)) for _ in range(EACH))) for _ in range(2)]
    at_us = now_us(live.home.engine)
    former = [envelope(slug, hashlib.sha256(body).hexdigest(), body, accepted_at_us=at_us) for body in bodies]
    live.home.broker.publish(raw(slug), former[0], deadline_s=30)
    for _ in range(2):
        for body in bodies:
            assert live.whole.post_batch(key, body).status == 202
        live.settled(slug)
    live.home.broker.publish(raw(slug), former[1], deadline_s=30)
    until(lambda: live.books(slug)["in_stream"] == 6, "the last one to be in the stream")
    books = live.settled(slug)
    assert (live.events(slug), books["deposited"], books["duplicates"]) == (2 * EACH, 2, 4)


def test_a_replay_as_what_the_bytes_really_are_is_deposited_once(live: Live, slug: str) -> None:
    key, body = live.add(slug), ndjson(*(event(secrets.token_hex(16)) for _ in range(EACH)))
    wrong = {"Content_Type": "application/vnd.apache.arrow.stream"}
    assert live.whole.post_batch(key, gzip.compress(body), **wrong).status == 202
    live.settled(slug)
    [row] = live.quarantined(slug)
    said = ("--id", str(row["id"]), "--as", "ndjson", "--encoding", "gzip")
    assert flask(live.home, "quarantine", "replay", "--customer", slug, *said[2:]).exit_code == Exit.USAGE
    words = ("quarantine", "replay", "--customer", slug, *said, "--why", "mislabelled")
    assert live.halted("streams.broker:Broker.publish_all", "after", "SIGKILL", *words).wait(60) != 0
    # What it was said to be when it was published stands, whatever is said of it after that.
    assert replay(live, slug, "--id", str(row["id"]), "--as", "json")["batches"] == 1
    assert replay(live, slug, *said)["batches"] == 0
    books = live.settled(slug)
    assert (live.events(slug), books["deposited"], books["duplicates"]) == (EACH, 1, 1)
    assert [one["format"] for one in live.quarantined(slug)] == ["arrow"]
    shown = flask(live.home, "quarantine", "show", str(row["id"])).stdout
    assert "as ndjson; encoded as gzip; mislabelled" in shown


def test_what_fails_again_is_a_new_row_and_its_reason_stands(live: Live, slug: str) -> None:
    key = live.add(slug)
    future = event(secrets.token_hex(16), started_at="2199-01-01T00:00:00Z")
    assert live.whole.post_batch(key, ndjson(future, event(secrets.token_hex(16)))).status == 202
    assert live.whole.post_batch(key, b"\0" * 9, Content_Type="application/json").status == 202
    live.settled(slug)
    assert replay(live, slug) == counted(slug, batches=1, events=1)
    books = live.settled(slug)
    assert (books["quarantined"], books["rejected"], live.events(slug)) == (2, 2, 1)
    rows = live.quarantined(slug)
    assert sorted(row["state"] for row in rows) == ["kept", "kept", "replayed", "replayed"]
    assert len({(row["reason"], row["accepted_at"]) for row in rows}) == 2


def test_a_rejected_span_is_replayed_as_the_span_that_came_and_fails_for_the_same_reason(
    live: Live, slug: str
) -> None:
    key, export = live.add(slug), json.loads(samples.otlp_json(samples.otlp(samples.table(3))))
    span, kept, _ = (
        span for group in export["resourceSpans"] for scope in group["scopeSpans"] for span in scope["spans"]
    )
    for one in (span, kept):
        one |= {"status": {"code": 2}, "events": [RAISED], "links": [LINK], "traceState": "a=1", "flags": 257}
    span["attributes"] = [{"key": "half", "value": {"intValue": "12.5"}}]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    assert live.whole.post("/v1/traces", json.dumps(export).encode(), headers).status == 200
    live.settled(slug)
    assert replay(live, slug)["events"] == 1
    books = live.settled(slug)
    assert (live.events(slug), books["rejected"]) == (2, 2)
    kinds = {(row["format"], row["reason"], row["row"]) for row in live.quarantined(slug)}
    assert kinds == {("otlp-json", "bad_attributes", 0)}
    assert live.scalar(f"SELECT count(DISTINCT bytes) FROM quarantine WHERE {MINE}", slug=slug) == 1
    stored = live.scalar(f"SELECT bytes FROM quarantine WHERE {MINE} LIMIT 1", slug=slug)
    assert json.loads(bytes(stored))["resourceSpans"][0]["scopeSpans"][0]["spans"] == [span]
    shown = flask_json(live.home, "trace", slug, kept["traceId"])["otlp"]
    normalised = {"name": "GET /things/{id}"}
    assert shown["resourceSpans"][0]["scopeSpans"][0]["spans"] == [kept | normalised]


def test_an_event_that_is_taken_now_is_deposited_and_counted_as_rejected_before(
    live: Live, slug: str
) -> None:
    key, good = live.add(slug), event(secrets.token_hex(16), status="error", span_events=[RAISED])
    bad = event(secrets.token_hex(16), duration_us=-1)
    assert live.whole.post_batch(key, ndjson(bad, good, bad)).status == 202
    live.settled(slug)
    with live.home.engine.begin() as connection:  # what a newer worker may take, an older one rejected
        found = connection.execute(
            text(f"UPDATE quarantine SET bytes = :bytes WHERE {MINE}"),
            {"bytes": ndjson(good), "slug": slug},
        )
    assert found.rowcount == 2
    assert replay(live, slug, "--reason", "bad_duration") == counted(slug, batches=0, events=2)
    books = live.settled(slug)
    assert (live.events(slug), books["decoded"], books["kept"], books["rejected"]) == (3, 5, 3, 2)
    assert books["results"]["rejected_events"] == {"kept": 0, "replayed": 2, "discarded": 0, "pruned": 0}
    (shown,) = flask_json(live.home, "trace", slug, str(good["trace_id"]))["otlp"]["resourceSpans"]
    spans = shown["scopeSpans"][0]["spans"]
    assert [span["events"] for span in spans] == [[RAISED]] * 3


DIES = {
    "before its intent is committed": ("db.quarantine.acts:note", "after"),
    "before the publish": ("streams.broker:Broker.publish_all", "before"),
    "after the publish": ("streams.broker:Broker.publish_all", "after"),
    "before the mark is committed": ("db.quarantine.acts:finish_replay", "after"),
}


def test_a_replay_that_is_killed_anywhere_is_completed_by_the_next_and_changes_results_once(
    live: Live, slug: str
) -> None:
    live.refused_batches(slug, 4)
    became = {"kept": 4, "replayed": 0, "discarded": 0, "pruned": 0}
    for case, (deposited, duplicates) in zip(DIES, [(1, 0), (1, 0), (5, 0), (5, 4)], strict=True):
        killed = live.halted(*DIES[case], "SIGKILL", "quarantine", "replay", "--customer", slug)
        assert killed.wait(60) == -signal.SIGKILL
        books = live.settled(slug)
        assert (books["deposited"], books["duplicates"]) == (deposited, duplicates), case
        assert (live.events(slug), books["results"]["quarantined_batches"]) == (deposited * EACH, became), (
            case
        )
    assert replay(live, slug)["batches"] == 4
    books = live.settled(slug)
    assert (live.events(slug), books["deposited"], books["duplicates"]) == (5 * EACH, 5, 8)
    assert {row["state"] for row in live.quarantined(slug)} == {"replayed"}
    assert replay(live, slug)["batches"] == 0


def test_two_replays_at_once_change_results_once(live: Live, slug: str) -> None:
    live.refused_batches(slug, 4)
    words = ("quarantine", "replay", "--customer", slug)
    slow = live.halted("streams.broker:Broker.publish_all", "before", "SIGSTOP", *words)
    until(lambda: _stopped(slow.pid), "the first one to stop before its publish")
    assert replay(live, slug)["batches"] == 4
    os.kill(slow.pid, signal.SIGCONT)
    assert slow.wait(60) == 0
    books = live.settled(slug)
    assert (live.events(slug), books["deposited"], books["duplicates"]) == (5 * EACH, 5, 4)
    assert {row["state"] for row in live.quarantined(slug)} == {"replayed"}


def test_a_replay_and_a_discard_at_once_never_both_have_a_row(live: Live, slug: str) -> None:
    live.refused_batches(slug, 2)
    slow = live.halted(
        "streams.broker:Broker.publish_all", "before", "SIGSTOP", "quarantine", "replay", "--customer", slug
    )
    until(lambda: _stopped(slow.pid), "the replay to stop before its publish")
    note = ("--by", "ann", "--why", "spam", "--yes", "--reason", "batch_id_reused")
    assert flask(live.home, "quarantine", "discard", "--customer", slug, *note).exit_code == Exit.OK
    os.kill(slow.pid, signal.SIGCONT)
    assert slow.wait(60) == 0
    assert live.settled(slug)["results"]["quarantined_batches"] == {
        "kept": 0,
        "replayed": 2,
        "discarded": 0,
        "pruned": 0,
    }
    assert live.events(slug) == 3 * EACH


def test_a_replay_counts_as_fresh_from_when_it_was_sent_again(live: Live, slug: str) -> None:
    live.refused_batches(slug, 1)
    with live.home.engine.begin() as connection:  # as if it had lain there for two months
        connection.execute(
            text(f"UPDATE quarantine SET accepted_at = accepted_at - 5184000000000 WHERE {MINE}"),
            {"slug": slug},
        )
    replay(live, slug)
    live.settled(slug)
    [lag] = flask_json(live.home, "lag", "--customer", slug)["customers"]
    assert lag["max_seconds"] < 3_600
    [envelope] = [one for one in live.home.envelopes(slug) if one.first_accepted_at_us is not None]
    assert envelope.accepted_at_us - envelope.came_at_us >= 5_184_000_000_000


def _stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False
