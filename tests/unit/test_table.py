"""What `make run` shows, rendered without a terminal."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from deploy.local import logs
from deploy.local.table import ProcessRow, View, WatchedCustomer, layout, seconds, sentence

STEADY = WatchedCustomer(
    customer="demo-a",
    state="active",
    breaker_reason=None,
    deposited_batches_per_second=12.34,
    deposited_events_per_second=61_234,
    owed_batches=3,
    oldest_owed_seconds=0.2,
    p50_seconds=0.11,
    p99_seconds=0.3,
    p999_seconds=0.9,
    balanced=True,
)
BEHIND = WatchedCustomer(
    customer="demo-b",
    state="paused",
    breaker_reason=None,
    deposited_batches_per_second=0,
    deposited_events_per_second=0,
    owed_batches=12_000,
    oldest_owed_seconds=4321,
    p50_seconds=None,
    p99_seconds=None,
    p999_seconds=None,
    balanced=False,
)


def rendered(view: View, width: int, height: int) -> str:
    console = Console(file=StringIO(), width=width, height=height, color_system=None)
    with console.capture() as capture:
        console.print(layout(view, width, height))
    return capture.get()


@pytest.mark.parametrize(("width", "height"), [(140, 40), (80, 24), (200, 60)])
def test_every_figure_of_a_customer_is_on_the_screen(width: int, height: int) -> None:
    view = View(links={"receiver": "http://127.0.0.1:1", "Flower": "http://127.0.0.1:2"}, customers=[STEADY])
    view.rows = [ProcessRow("worker", None, "killed by SIGKILL", False)]
    text = rendered(view, width, height)
    assert len(text.splitlines()) <= height
    for expected in ("http://127.0.0.1:1", "12.3", "61,234", "3", "110 ms", "300 ms", "900 ms", "balanced"):
        assert expected in text
    assert "killed by SIGKILL" in text


def test_books_that_do_not_balance_stand_out() -> None:
    text = rendered(View(customers=[STEADY, BEHIND]), 140, 40)
    assert "NOT BALANCED" in text
    assert "demo-b paused" in text
    assert "12,000" in text
    assert "4,321 s" in text


def test_what_is_away_is_said_under_the_table() -> None:
    assert "the database is away" in rendered(View(problem="the database is away"), 140, 40)


def test_a_plain_line_says_the_same_as_a_row() -> None:
    assert sentence(STEADY) == (
        "12.3 batches/s, 61,234 events/s, lag 3 batches, 200 ms, p50 110 ms, p99 300 ms, p99.9 900 ms,"
        " books balanced"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0 ms"), (0.999, "999 ms"), (1.24, "1.2 s"), (5000, "5,000 s")]
)
def test_seconds_are_shown_with_a_unit_that_fits(value: float | None, text: str) -> None:
    assert seconds(value) == text


def test_a_structured_log_line_becomes_words_and_a_warning_says_so() -> None:
    line = json.dumps({"event": "customer_taken", "level": "warning", "timestamp": "now", "customer": "acme"})
    assert logs.one_line(line.encode()) == "WARNING customer_taken customer=acme"


def test_escapes_and_controls_of_a_log_line_do_not_reach_the_screen() -> None:
    assert logs.one_line(b"\x1b[31mred\x1b[0m\x07 \xff text\n") == "red � text"


def test_a_log_file_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1_000)
    files = logs.LogFiles(tmp_path)
    for number in range(1_000):
        files.write("worker", f"line {number}".encode())
    files.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker.log", "worker.log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000
    assert files.last("worker", 2) == ["line 998", "line 999"]
