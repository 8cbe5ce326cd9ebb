"""What a process says to systemd, and how it answers who asks on its host."""

import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervision import Answerer, Missing, Supervised, Unanswered, address, ask
from tests.notified import Notices, listening
from tests.receiver import until


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[Notices]:
    with listening(tmp_path / "notify") as notices:
        yield notices


def test_a_start_that_waits_is_prolonged_and_then_ready_once_and_at_work(notices: Notices) -> None:
    process = Supervised(notices.environment | {"WATCHDOG_USEC": "400000"})
    process.progressed()
    process.progressed()
    process.ready("does its work\nand more")
    process.ready("again")
    time.sleep(0.15)  # more than a quarter of the time within which systemd must hear from it
    process.progressed()
    process.stopping()
    process.stopping()
    process.progressed()
    until(lambda: notices.count("STOPPING=1"), "the last notice")
    assert notices.text().splitlines() == [
        "EXTEND_TIMEOUT_USEC=60000000",
        *("READY=1", "STATUS=does its work and more"),
        *("WATCHDOG=1", "WATCHDOG=1"),
        "STOPPING=1",
    ]


def test_a_status_is_sent_when_it_is_another(notices: Notices) -> None:
    process = Supervised(notices.environment)
    for text in ("waits", "waits", "works"):
        process.status(text)
    until(lambda: notices.count("STATUS=works"), "the second status")
    assert notices.count("STATUS=") == 2


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getppid())}, {"WATCHDOG_USEC": "soon"}],
    ids=["no watchdog", "the watchdog of another process", "no number"],
)
def test_without_a_watchdog_of_its_own_a_process_sends_no_beat(
    notices: Notices, environment: dict[str, str]
) -> None:
    process = Supervised({"NOTIFY_SOCKET": str(notices.path)} | environment)
    process.ready("works")
    process.progressed()
    process.stopping()
    until(lambda: notices.count("STOPPING=1"), "the last notice")
    assert notices.count("WATCHDOG=1") == 0


@pytest.mark.parametrize("where", ["", "/nowhere/notify", "@sluice-test-where-nobody-listens"])
def test_nobody_who_listens_is_no_error(where: str) -> None:
    process = Supervised({"NOTIFY_SOCKET": where, "WATCHDOG_USEC": "1"})
    process.ready("works")
    process.progressed()
    process.stopping()


def test_who_asks_is_answered_between_two_turns_and_not_by_a_loop_that_stands_still() -> None:
    where = address("test", "amqp://broker", secrets.token_hex(6))
    with pytest.raises(Missing):
        ask(where, time.monotonic() + 10)
    answerer = Answerer(where)
    with pytest.raises(OSError, match="in use"):
        Answerer(where)
    with pytest.raises(Unanswered):
        ask(where, time.monotonic() + 0.2)
    answered = threading.Event()

    def turn() -> None:
        # The one who gave up before is answered first, and hears nothing of it.
        while not answered.is_set():
            answerer.answer(lambda: b"yes")
            time.sleep(0.01)

    turning = threading.Thread(target=turn)
    turning.start()
    try:
        assert ask(where, time.monotonic() + 60) == b"yes"
    finally:
        answered.set()
        turning.join()
        answerer.close()
