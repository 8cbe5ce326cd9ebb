"""What processes share with the listener besides counts: a text and signs of life; which counts it shows."""

import json
import time

import pytest

from operators import OTHER, LabelNames, Memory
from operators.board import Board
from operators.names import PROMOTED_AFTER
from operators.signs import STUCK_S
from operators.values import SHOWN_S, exposition
from tests.measured import parsed


def counter(sample: str, **labels: str) -> bytes:
    key = ["counter", sample.removesuffix("_total"), sample, "Something", labels]
    return json.dumps(key, sort_keys=True).encode()


def test_a_text_replaces_the_one_before_as_a_whole() -> None:
    memory = Memory(lanes=1, lane_bytes=64, board_bytes=64)
    reader = Memory.of(memory.file)
    assert reader.board.shown() == b""
    for text in (b"a 1\n", b"a 2\nb 3\n", b"", b"a 4\n"):
        assert memory.board.show(text)
        assert reader.board.shown() == text


def test_a_text_is_written_beside_the_one_that_is_read() -> None:
    page = bytearray(Board.size(8))
    board = Board(memoryview(page))
    for text, before in ((b"aaaa", b""), (b"bbbb", b"aaaa"), (b"cccc", b"bbbb")):
        board.show(text)
        assert before in page, "somebody may still read it"


def test_a_text_that_is_too_long_leaves_the_one_before() -> None:
    memory = Memory(lanes=1, lane_bytes=64, board_bytes=64)
    assert memory.board.show(b"x" * 64)
    assert not memory.board.show(b"y" * 65)
    assert memory.board.shown() == b"x" * 64


def test_the_board_is_a_part_of_what_is_shown() -> None:
    memory = Memory(lanes=1, lane_bytes=1024, board_bytes=64)
    lane = memory.take()
    assert lane is not None
    cell = lane.cell(counter("sluice_things_total"))
    assert cell is not None
    lane.set(cell, 2.0)
    memory.board.show(b"sluice_other 7\n")
    scrape = parsed(exposition(memory).decode())
    assert (scrape.value("sluice_things_total"), scrape.value("sluice_other")) == (2.0, 7.0)


def test_a_process_is_alive_before_its_first_beat_and_ready_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(lanes=1, lane_bytes=64)
    signs = Memory.of(memory.file).signs
    assert (signs.alive, signs.ready) == (True, False)
    memory.signs.beat(ready=False)
    assert (signs.alive, signs.ready) == (True, False)
    memory.signs.beat(ready=True)
    assert (signs.alive, signs.ready) == (True, True)
    later = time.monotonic() + STUCK_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (signs.alive, signs.ready) == (False, False)


@pytest.mark.parametrize(("age_s", "shown"), [(SHOWN_S - 60, True), (SHOWN_S + 60, False)])
def test_a_customer_that_is_not_counted_any_more_goes(age_s: float, shown: bool) -> None:
    memory = Memory(lanes=2, lane_bytes=1024)
    for number, lane in enumerate(memory.lanes()):
        for labels in ({"customer": "acme"}, {"customer": OTHER}, {"task": "decode"}):
            cell = lane.cell(counter("sluice_things_total", **labels))
            assert cell is not None
            # One of them counted lately is enough: the sum must not go back.
            lane.set(cell, 1.0, time.time() - age_s - 1_000 * number)
    scrape = parsed(exposition(memory).decode())
    assert scrape.value("sluice_things_total", customer="acme") == (2.0 if shown else None)
    assert scrape.value("sluice_things_total", customer=OTHER) == 2.0
    assert scrape.value("sluice_things_total", task="decode") == 2.0


def test_no_flood_of_customers_makes_more_labels_than_names() -> None:
    names = LabelNames(4)
    labels = {names.label(f"crowd-{number % 10}") for number in range(PROMOTED_AFTER * 20)}
    assert len(labels - {OTHER}) == 4
    assert names.label("late") == OTHER


def test_a_successor_keeps_the_names_that_were_given() -> None:
    names = LabelNames(2)
    names.go_on(["acme", OTHER, "initech"])
    assert [names.label(slug) for slug in ("acme", "initech", "late")] == ["acme", "initech", OTHER]
