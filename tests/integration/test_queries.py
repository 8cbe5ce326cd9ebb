"""The questions of docs/queries.md, each asked on both databases and compared with what is known."""

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.engine import read
from tests.integration import asked
from tests.integration.asked import BEFORE, NOW, TRACE, YESTERDAY

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()
QUERIES = dict(re.findall(r"^### (.+?)\n(?:(?!^###).)*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
TODAY = "2026-11-27"
NO_STOCK = '{"stringValue":"no stock"}'


def trace(number: int) -> str:
    return f"{number:032x}"


def event(number: int) -> str:
    return f"{number:016x}"


# Times are as `shown` makes them: without a zone, and without a fraction that is zero.
ANSWERS: dict[str, list[tuple[object, ...]]] = {
    "Which operations were the slowest yesterday?": [
        ("shop", "POST /order", 3, 400),
        ("pay", "POST /pay", 4, 50),
        ("shop", "GET /cart", 3, 10),
    ],
    "What is the p99 of each service, by hour?": [
        (f"{YESTERDAY}T15:00:00", "shop", 1, 400),
        (f"{YESTERDAY}T16:00:00", "pay", 4, 50),
        (f"{TODAY}T00:00:00", "shop", 1, 900),
    ],
    "Which operations were slower yesterday than on the day before?": [
        ("shop", "GET /cart", 2, 10),
        ("shop", "POST /order", 200, 400),
    ],
    "Which traces took the longest?": [
        (trace(1), f"{YESTERDAY}T20:00:00.250000", "shop", "POST /order", "ann", 1500, 3),
        (trace(4), f"{YESTERDAY}T23:00:00", "shop", "POST /order", None, 40, 3),
        (trace(3), f"{YESTERDAY}T22:00:00", "shop", "POST /order", "bob", 30, 3),
        (trace(2), f"{YESTERDAY}T21:00:00", "shop", "POST /order", "ann", 20, 3),
    ],
    "Is the new version slower than the one before?": [
        ("1.1", f"{YESTERDAY}T12:00:00", 2, 50, 400),
        ("1.0", f"{BEFORE}T09:10:00", 3, 0, 200),
    ],
    "What share of the events of each service failed?": [("shop", 2, 50), ("pay", 4, 0)],
    "Which users met the most errors?": [("ann", 2, 50), ("bob", 1, 0)],
    "Which traces failed last, and with which exception?": [
        (trace(1), f"{YESTERDAY}T20:00:00.250000", "POST /order", "KeyError", "no"),
    ],
    "Which exceptions are the most frequent?": [
        ("shop", "aa", "KeyError", "no", 3, *[f"{YESTERDAY}T20:00:07.500000"] * 2),
        ("shop", "bb", "ValueError", "no", 1, *[f"{YESTERDAY}T21:00:07.500000"] * 2),
    ],
    "Which exceptions are new since the last release?": [
        ("shop", "bb", "ValueError", "no", 1, f"{YESTERDAY}T21:00:07.500000"),
    ],
    "Which services log errors?": [("shop", 5), ("pay", 1)],
    "What do the latest of these log records say?": [
        (f"{YESTERDAY}T21:00:00", "pay", 21, NO_STOCK, None),
        (f"{YESTERDAY}T20:00:00.500000", "shop", 17, NO_STOCK, TRACE.hex()),
    ],
    "What is kept of one trace?": [
        (f"{YESTERDAY}T20:00:00.001000", 2.5, "shop", "POST /order", "ok", event(1), None),
        (f"{YESTERDAY}T20:00:00.002000", 2.5, "shop", "check", "ok", event(2), event(1)),
        (f"{YESTERDAY}T20:00:00.003000", 2.5, "pay", "POST /pay", "error", event(3), event(2)),
    ],
    "Which service calls which?": [("shop", "pay", 2), ("pay", "bank", 1)],
    "Which hours were the busiest?": [
        (f"{YESTERDAY}T09:00:00", 5),
        (f"{YESTERDAY}T16:00:00", 4),
        (f"{BEFORE}T09:00:00", 3),
        (f"{YESTERDAY}T15:00:00", 1),
        (f"{TODAY}T00:00:00", 1),
    ],
    "Who has sent nothing today?": [("acme", f"{YESTERDAY}T16:30:00"), ("silent", None)],
    "Which customers cost the most?": [("acme", 4.5, 20, 4000), ("globex", 1.5, 10, 2000)],
    "What became of yesterday's events?": [("acme", 20, 14, 4, 2)],
    "For how long did customers wait for their results?": [("acme", 3, 4), ("globex", 1, 1)],
    "What is in quarantine, and why?": [
        ("acme", "bad_time", 2, f"{YESTERDAY}T16:00:00", f"{YESTERDAY}T17:00:00"),
        ("globex", "unknown_format", 1, *[f"{BEFORE}T16:00:00"] * 2),
    ],
}


def shown(name: str, value: object) -> object:
    """The value, the same for both databases; a percentile may be off by as much as docs/pipeline.md says."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        assert value.utcoffset() is not None
        return value.astimezone(UTC).replace(tzinfo=None).isoformat()
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, float | Decimal):
        return pytest.approx(
            float(value), rel=0.05 if re.fullmatch(r"(p99|before|yesterday)_ms", name) else 1e-9
        )
    assert not isinstance(value, bytes | date)
    return value


def test_the_page_has_twenty_questions_each_with_a_known_answer() -> None:
    assert len(QUERIES) == 20
    assert set(QUERIES) == set(ANSWERS)


def test_each_question_has_the_known_answer(engine: Engine) -> None:
    asked.fill(engine)
    wrong = []
    for question, query in QUERIES.items():
        with read(engine) as conn:
            conn.exec_driver_sql(query).all()  # as it stands on the page
            rows = conn.exec_driver_sql(query.replace("'now'", f"'{NOW}'")).mappings().all()
        found = [tuple(shown(*column) for column in row.items()) for row in rows]
        if found != ANSWERS[question]:
            wrong.append((question, found, ANSWERS[question]))
    assert not wrong
