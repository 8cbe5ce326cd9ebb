"""`make run`, `make up`, `make down` over trivial processes; the database and `flask watch` are real."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from deploy.local import leftovers, processes, runfile

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
# The two servers answer /readyz and /healthcheck with files of these names.
PROCFILE = """\
receiver: python -m http.server --bind 127.0.0.1 "${SLUICE_URL##*:}"
dispatcher: sleep 1000
worker: sh -c 'echo "celery@here ready."; exec sleep 1000'
flower: python -m http.server --bind 127.0.0.1 "$FLOWER_PORT"
"""
BROKER = "amqp://guest:secret-of-the-broker@127.0.0.1:9//"
MANAGEMENT = "http://guest:secret-of-the-broker@127.0.0.1:15672"
STREAM = "rabbitmq-stream://guest:secret-of-the-broker@127.0.0.1:9/%2f"
STUBBORN = """worker: sh -c 'trap "" TERM; echo "celery@here ready."; while :; do sleep 0.2; done'\n"""
T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str) -> T:
    end = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.05)
    return value


class Clone:
    """A folder that looks like a clone, with processes that are quick to start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.var = folder / "var"
        for name in ("alembic.ini", "migrations"):
            (folder / name).symlink_to(ROOT / name)
        for name in ("readyz", "healthcheck"):
            (folder / name).write_text("ok")
        (folder / "Procfile").write_text(PROCFILE)
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("SLUICE_", "DATABASE"))
            },
            "PYTHONPATH": str(ROOT),
            "DEMO": "0",
            "BROKER_URL": BROKER,
            "STREAM_URL": STREAM,
            "MANAGEMENT_URL": MANAGEMENT,
        }

    def make(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "deploy.local.run", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def run(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.local.run"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ready(self) -> dict[str, Any] | None:
        run = runfile.read_run(self.var)
        return run if run and run["ready"] else None

    def left(self) -> list[int]:
        return leftovers.find(leftovers.every_run(self.var))


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    clone = Clone(tmp_path)
    yield clone
    clone.make("down")


def test_up_waits_until_it_is_ready_and_down_leaves_nothing(clone: Clone) -> None:
    up = clone.make("up")
    assert up.returncode == 0, up.stderr
    run = clone.ready()
    assert run
    assert run["receiver"] in up.stdout
    assert run["flower"] in up.stdout
    assert f"{run['operators']}/metrics" in up.stdout
    assert set(run["metrics"]) == {"receiver", "dispatcher", "worker"}
    assert all(url in up.stdout for url in run["metrics"].values())
    assert set(run["processes"]) == {"receiver", "dispatcher", "worker", "flower", "watch"}
    again = clone.make("up")
    assert again.returncode == 0
    assert again.stdout == up.stdout
    down = clone.make("down")
    assert (down.returncode, down.stdout) == (0, "all stopped\n")
    assert clone.left() == []
    assert not (clone.var / "run.json").exists()
    assert not (clone.var / "sluice.db-wal").exists()
    # One that was killed leaves the WAL, and its last rows in there.
    killed = "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('CREATE TABLE late (a)')"
    subprocess.run(
        [sys.executable, "-c", f"{killed}; db.commit(); os._exit(0)", clone.var / "sluice.db"], check=True
    )
    assert (clone.var / "sluice.db-wal").stat().st_size > 0
    assert clone.make("down").stdout == "nothing is running\n"
    assert not (clone.var / "sluice.db-wal").exists()


def test_a_second_run_in_the_same_clone_says_so_in_one_sentence(clone: Clone) -> None:
    assert clone.make("up").returncode == 0
    second = clone.make()
    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr.count("\n") == 1
    assert "already runs in this clone" in second.stderr
    assert "make down" in second.stderr


def test_run_files_hold_all_urls_and_only_their_owner_reads_them(clone: Clone) -> None:
    assert clone.make("up").returncode == 0
    run = json.loads((clone.var / "run.json").read_text())
    assert run["broker"] == {"amqp": BROKER, "stream": STREAM}
    assert run["database"] == f"sqlite:///{clone.var / 'sluice.db'}"
    assert run["key_files"] == {}
    for name in ("run.json", "run.env"):
        assert stat.S_IMODE((clone.var / name).stat().st_mode) == 0o600
    sourced = subprocess.run(
        [
            "/bin/sh",
            "-c",
            ". var/run.env; "
            'echo "$BROKER_URL $STREAM_URL $MANAGEMENT_URL $DATABASE_URL $SLUICE_URL $FLASK_APP"',
        ],
        cwd=clone.folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    broker = [BROKER, STREAM, MANAGEMENT]
    assert sourced.stdout.split() == [*broker, run["database"], run["receiver"], "webapp:create_app"]


def test_no_password_is_in_a_command_line_or_a_log(clone: Clone) -> None:
    assert clone.make("up").returncode == 0
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in clone.left()]
    assert lines
    logs = [path.read_bytes() for path in (clone.var / "log").iterdir()]
    assert logs
    assert not any(b"secret-of-the-broker" in text for text in lines + logs)


def test_ports_are_those_of_the_last_time(clone: Clone) -> None:
    assert clone.make("up").returncode == 0
    first = clone.ready()
    clone.make("down")
    assert clone.make("up").returncode == 0
    second = clone.ready()
    assert first
    assert second
    assert (first["receiver"], first["flower"]) == (second["receiver"], second["flower"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_order_and_counts_as_success(
    clone: Clone, number: signal.Signals
) -> None:
    runner = clone.run()
    until(clone.ready, "ready")
    runner.send_signal(number)
    output, _ = runner.communicate(timeout=DEADLINE_S)
    assert runner.returncode == 0, output
    assert output.endswith("all stopped\n")
    assert clone.left() == []


def test_a_second_ctrl_c_does_not_wait_for_a_stubborn_process(clone: Clone) -> None:
    others = [line for line in PROCFILE.splitlines(keepends=True) if not line.startswith("worker:")]
    (clone.folder / "Procfile").write_text("".join([STUBBORN, *others]))
    runner = clone.run()
    until(clone.ready, "ready")
    began = time.monotonic()
    for _ in range(2):
        runner.send_signal(signal.SIGINT)
        time.sleep(1)
    output, _ = runner.communicate(timeout=2 * DEADLINE_S)
    assert "worker has not stopped by itself; killed" in output
    assert time.monotonic() - began < 45, output  # its own time is 60 s
    assert clone.left() == []


def test_a_process_that_dies_is_told_and_its_new_pid_is_in_run_json(clone: Clone) -> None:
    runner = clone.run()
    run = until(clone.ready, "ready")
    before = run["processes"]["worker"]
    os.kill(before, signal.SIGKILL)

    def after() -> bool:
        now = clone.ready() or {"processes": {}}
        return bool(now["processes"].get("worker", before) != before)

    until(after, "the worker's new pid")
    runner.send_signal(signal.SIGINT)
    runner.send_signal(signal.SIGINT)
    output, _ = runner.communicate(timeout=DEADLINE_S)
    assert "worker died (killed by SIGKILL)" in output


def test_a_runner_that_is_killed_takes_everything_with_it(clone: Clone) -> None:
    runner = clone.run()
    until(clone.ready, "ready")
    assert clone.left()
    runner.kill()
    until(lambda: not clone.left(), "the guard's work")
    runner.communicate()


def test_what_a_killed_runner_and_a_killed_guard_leave_is_stopped_by_the_next_start(clone: Clone) -> None:
    runner = clone.run()
    until(clone.ready, "ready")
    guards = [pid for pid in _children(runner.pid) if b"deploy.local.leftovers" in _command_line(pid)]
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGKILL)
    runner.kill()
    runner.communicate()
    left = [one for pid in clone.left() if (one := processes.of(pid))]
    assert left
    assert clone.make("up").returncode == 0
    assert not any(one.alive() for one in left)


def test_a_process_that_cannot_start_ends_the_run_with_its_own_last_words(clone: Clone) -> None:
    words = "SLUICE_TASK_LINGER_MS: lower it"
    (clone.folder / "Procfile").write_text(PROCFILE + f"other: sh -c 'echo {words}; exit 1'\n")
    up = clone.make("up")
    assert up.returncode == 1
    assert words in up.stderr
    assert clone.left() == []


def test_half_a_broker_is_refused_with_what_to_set(clone: Clone) -> None:
    del clone.environment["STREAM_URL"]
    up = clone.make("up")
    assert up.returncode == 1
    assert "set STREAM_URL too" in up.stderr


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
