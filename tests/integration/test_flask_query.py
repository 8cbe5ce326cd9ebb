"""`flask query`: what somebody asks in SQL is printed, and nothing is changed by it; no broker is needed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine

from db.engine import read
from tests.integration.ledger_rows import add_customer
from webapp import create_app
from webapp.commands import query
from webapp.terminal.exits import Exit


class Asker:
    """The command, run in this process on the test's own database."""

    def __init__(self) -> None:
        self.app = create_app()

    def ask(self, sql: str | bytes, *options: str) -> Result:
        runner = self.app.test_cli_runner(catch_exceptions=False)
        return runner.invoke(args=["query", "-", *options], input=sql)

    def document(self, sql: str) -> Any:
        return json.loads(self.ask(sql, "--json").stdout)


@pytest.fixture
def asker(engine: Engine) -> Iterator[Asker]:
    add_customer(engine, "asked")
    asker = Asker()
    yield asker
    asker.app.extensions["sluice"].close()


def test_rows_are_printed_as_a_table_or_as_a_document(asker: Asker) -> None:
    sql = "SELECT customer, 5 / 2.0 AS half, trace_id AS none, ':x' AS colon FROM customers_view"
    sql += " LEFT JOIN interactions_view USING (customer) WHERE customer LIKE 'ask%'"
    assert [line.split() for line in asker.ask(sql).stdout.splitlines()] == [
        ["customer", "half", "none", "colon"],
        ["asked", "2.500", "-", ":x"],
    ]
    columns = ["customer", "half", "none", "colon"]
    assert asker.document(sql) == {"columns": columns, "answers": [["asked", 2.5, None, ":x"]]}


def test_values_of_every_kind_are_as_in_other_documents(asker: Asker, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        assert asker.document("SELECT x'0102', 3, sum(1.0), 9e999")["answers"] == [["0102", 3, 1.0, "inf"]]
        return
    kinds = "SELECT CAST('\\x0102' AS bytea), sum(3::bigint), datetime('2026-01-15T14:03:05Z')"
    kinds += ", DATE '2026-01-15', CAST('{\"a\": [1]}' AS jsonb)"
    answer = ["0102", 3, "2026-01-15T14:03:05.000000Z", "2026-01-15", {"a": [1]}]
    assert asker.document(kinds)["answers"] == [answer]
    assert asker.ask(kinds).stdout.splitlines()[1].split()[:3] == ["0102", "3", answer[2]]
    assert '{"a": [1]}' in asker.ask(kinds).stdout
    rarer = "SELECT TIMESTAMP '2026-01-15 14:03:05', 'Infinity'::numeric, 'NaN'::float8, TIME '14:03'"
    rarer += ", INTERVAL '1 hour', ARRAY[datetime('2026-01-15T14:03:05Z')], true"
    shown = [answer[2], "Infinity", "nan", "14:03:00", 3600.0, [answer[2]], True]
    assert asker.document(rarer)["answers"] == [shown]
    assert "3600.000" in asker.ask(rarer).stdout


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM nothing_such",
        "SELEKT",
        "",
        "DELETE FROM customers",
        "UPDATE customers SET state = 'paused' RETURNING slug",
        "ATTACH 'attached.db' AS attached",
        b"SELECT '\xff'",
    ],
)
def test_what_is_no_question_is_refused_and_changes_nothing(
    asker: Asker, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str | bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    said = asker.ask(sql)
    assert said.exit_code == Exit.REFUSED, said.output
    assert said.stdout == ""
    assert not (tmp_path / "attached.db").exists()
    with read(engine) as conn:
        assert conn.exec_driver_sql("SELECT slug, state FROM customers").all() == [("asked", "active")]


def test_only_so_many_rows_are_printed_and_that_is_said(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "MOST_ROWS", 2)
    said = asker.ask("SELECT 1 AS one UNION ALL SELECT 1 UNION ALL SELECT 1", "--json")
    assert json.loads(said.stdout)["answers"] == [[1], [1]]
    assert "more rows" in said.stderr


def test_a_question_that_takes_too_long_is_given_up(asker: Asker, engine: Engine) -> None:
    if engine.dialect.name == "postgresql":
        said = asker.ask("SELECT pg_sleep(20)", "--seconds", "0.1")
        assert said.exit_code == Exit.REFUSED
        assert "statement timeout" in said.stderr
