"""A replayed file leaves in the database exactly what it has to, by the word of a calculation of its own."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from bench.spans.generate import FIRST_START_US, SCHEMA, generate
from bench.spans.oddities import Oddities
from bench.spans.sdk import sdk_spans
from deploy.local.rabbitmq import RabbitNode
from tests.whole import ROOT, Whole, running, until

SPANS, SDK_SPANS = 10_000, 2_000
pytestmark = pytest.mark.timeout(400)
SENT_AS = (("arrow", "zstd"), ("ndjson", "gzip"), ("json", "br"), ("otlp", "gzip"), ("otlp-json", "deflate"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spans") / "spans.parquet"
    said = _said(generate(SPANS - SDK_SPANS, seed=11, spans_per_s=100.0, odd=Oddities()))
    # Nothing of them is among the first, which a test changes.
    later = sdk_spans(SDK_SPANS, batch=50, seed=12, first_start_us=FIRST_START_US + 600_000_000)
    pq.write_table(pa.concat_tables([said, later]), path)
    return path


def _said(spans: pa.Table) -> pa.Table:
    """The spans with kinds, users and secrets as agents say them, and some that they should not say."""
    kinds = cycle(("Server", "client", None, "", "broker"))
    more = cycle(
        (
            [("user.id", "u-1"), ("password", "hunter2"), ("note", "ä")],
            [("enduser.id", "e-2"), ("http.request.header.authorization", "x")],
            [("user.id", ""), ("enduser.id", "e-3")],
            [("url", "?t=eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."), ("user.id", "u-4"), ("user.id", "u-5")],
            [],
            [],
            [("k8s.pod.name", "")],
        )
    )
    pairs = [[*(own or ()), *next(more)] for own in spans["attributes"].to_pylist()]
    columns = {
        "kind": pa.array([next(kinds) for _ in pairs], pa.string()),
        "attributes": pa.array(pairs, SCHEMA.field("attributes").type),
    }
    for name, column in columns.items():
        spans = spans.set_column(spans.schema.get_field_index(name), name, column)
    return spans


@pytest.fixture
def whole(tmp_path: Path, rabbitmq: RabbitNode, database_url: str) -> Iterator[Whole]:
    with running(
        tmp_path, database_url=database_url, amqp_url=rabbitmq.amqp_url, stream_url=rabbitmq.stream_url
    ) as whole:
        yield whole


def _command(whole: Whole, file: Path, slug: str, *options: str) -> list[str]:
    database_url = whole.environment["DATABASE_URL"]
    posting = ["--url", whole.url, "--key-file", str(whole.folder / f"{slug}.key")]
    checking = ["--check", "--database-url", database_url, "--customer", slug]
    return [sys.executable, str(ROOT / "bench" / "replay.py"), str(file), *posting, *checking, *options]


def _replay(whole: Whole, file: Path, slug: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(whole, file, slug, *options),
        env=whole.environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def _agrees(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "no difference" in done.stdout


def test_every_format_leaves_what_the_calculation_says(whole: Whole, file: Path, slug: str) -> None:
    for form, _ in SENT_AS:
        whole.add_customer(f"{slug}-{form}")
    for form, encoding in SENT_AS:
        own = f"{slug}-{form}"
        _agrees(_replay(whole, file, own, "--format", form, "--encoding", encoding, "--batch", "500"))
    whole.flask("books")


def test_the_same_batches_sent_again_change_nothing_and_a_planted_difference_is_named(
    whole: Whole, engine: Engine, file: Path, slug: str
) -> None:
    whole.add_customer(slug)
    _agrees(_replay(whole, file, slug))
    _agrees(_replay(whole, file, slug, "--books"))
    assert whole.books(slug)["customers"][0]["duplicates"] == SPANS / 1_000
    with engine.begin() as conn:
        first = "(SELECT min(started_at) FROM interactions)"
        conn.execute(text(f"UPDATE interactions SET errors = errors + 7 WHERE started_at = {first}"))
        conn.execute(text("DELETE FROM rollups WHERE minute = (SELECT min(minute) FROM rollups)"))
        one = "(window_id, position) = (SELECT window_id, position FROM events ORDER BY 1, 2 LIMIT 1)"
        conn.execute(text(f"UPDATE events SET kind = 'planted' WHERE {one}"))
    done = _replay(whole, file, slug)
    assert done.returncode == 1
    assert "interactions: 1 differences" in done.stdout
    assert ": errors is 7, not 0" in done.stdout
    assert "kind='planted'" in done.stdout
    assert "is missing" in done.stdout


def test_a_worker_killed_in_the_middle_changes_nothing(
    whole: Whole, engine: Engine, file: Path, slug: str
) -> None:
    whole.add_customer(slug)
    command = _command(whole, file, slug, "--rate", "4000", "--batch", "50")
    with subprocess.Popen(command, env=whole.environment, stdout=subprocess.PIPE, text=True) as replay:
        until(lambda: _count(engine, "SELECT count(*) FROM interactions"), "the first results")
        whole.kill("worker")
        whole.start("worker")
        said, _ = replay.communicate(timeout=110)
    assert replay.returncode == 0, said


def _count(engine: Engine, statement: str) -> int:
    with engine.connect() as conn:
        return int(conn.execute(text(statement)).scalar_one())
