"""What the units of deploy/systemd promise, and that systemd understands them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.units import COMMON, ROOT, UNITS, services, settings_file, unit

# In tenths of systemd-analyze's own scale, on which 10 is a service without any restriction.
MOST_EXPOSED = 20
WATCHED = [name for name in services() if not name.startswith(("sluice-flower", "sluice-migrate"))]


def test_systemd_finds_no_mistake_in_a_unit(systemd_analyze: str, tmp_path: Path) -> None:
    """With the project's path in place of the one that the units expect: it wants commands that are there."""
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.target"), *COMMON.glob("*.conf")]:
        copy = tmp_path / path.relative_to(UNITS)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text().replace("/opt/sluice", str(ROOT)))
    names = [str(tmp_path / name) for name in (*services(), "sluice.target")]
    done = subprocess.run(
        [systemd_analyze, "verify", "--man=no", "--recursive-errors=no", *names],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_service_is_exposed_more_than_it_must_be(systemd_analyze: str) -> None:
    for name in services():
        done = subprocess.run(
            [
                systemd_analyze,
                "security",
                "--offline=true",
                "--no-pager",
                f"--threshold={MOST_EXPOSED}",
                name,
            ],
            env=os.environ | {"SYSTEMD_UNIT_PATH": f"{UNITS}:"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("name", services())
def test_a_misconfigured_service_is_not_started_again(name: str) -> None:
    from webapp.terminal.exits import Exit

    assert int(unit(name).one("RestartPreventExitStatus")) == Exit.MISCONFIGURED


@pytest.mark.parametrize("name", WATCHED)
def test_what_does_the_work_is_watched_and_started_again(name: str) -> None:
    one = unit(name)
    assert (one.one("Type"), one.one("Restart"), one.one("KillMode")) == ("notify", "always", "mixed")
    assert int(one.one("WatchdogSec")) >= 120, "more than a round takes on a slow database"


@pytest.mark.parametrize("name", services())
def test_only_workers_write_machine_code_and_keep_it_where_nobody_else_can_write(name: str) -> None:
    one = unit(name)
    compiles = name.startswith("sluice-worker")
    assert one.all("MemoryDenyWriteExecute") == ["no" if compiles else "yes"]
    if compiles:
        assert one.all("CacheDirectoryMode") == ["0700"]
        assert one.own_environment()["NUMBA_CACHE_DIR"] == f"/var/cache/{one.one('CacheDirectory')}"


def test_a_stop_leaves_the_time_that_a_process_takes_to_finish() -> None:
    from tasks.settings import TaskSettings
    from webapp.settings import HttpSettings

    http, tasks = HttpSettings(), TaskSettings()
    assert int(unit("sluice-receiver.service").one("TimeoutStopSec")) > http.drain_s + http.graceful_s
    for name in ("sluice-worker.service", "sluice-worker@one.service"):
        assert int(unit(name).one("TimeoutStopSec")) > tasks.task_time_limit_s


@pytest.mark.parametrize("name", services())
def test_the_file_of_settings_overrides_nothing_that_a_unit_sets(name: str) -> None:
    """To systemd, the file has the last word: all workers would have the port of one."""
    assert not unit(name).own_environment().keys() & settings_file().keys()


def test_a_customers_worker_has_a_port_of_its_own() -> None:
    environment = unit("sluice-worker@acme.service").environment()
    assert environment["SLUICE_TASK_WORKER_METRICS_BIND"] == "127.0.0.1:0"


def test_a_customers_worker_serves_its_queue_under_its_name() -> None:
    words = unit("sluice-worker@acme-1.service").command({})
    assert words[words.index("-Q") + 1] == "customer-acme-1"
    assert words[words.index("-n") + 1] == "acme-1@%h"


def test_the_commands_are_those_of_the_procfile() -> None:
    """With a name for each, and without the demonstration."""
    procfile = dict(re.findall(r"^(\w+): (.*)$", (ROOT / "Procfile").read_text(), re.M))
    for name, found in (
        ("receiver", unit("sluice-receiver.service")),
        ("dispatcher", unit("sluice-dispatcher@1.service")),
        ("worker", unit("sluice-worker.service")),
        ("flower", unit("sluice-flower.service")),
    ):
        wanted = procfile[name].replace("'", "").replace('"$FLOWER_PORT"', "${FLOWER_PORT}")
        wanted = re.sub(r" --hostname=\S+", "", wanted)
        said = found.one("ExecStart").removeprefix("/opt/sluice/.venv/bin/")
        assert re.sub(r" -n \S+", "", said) == wanted


def test_no_unit_and_no_file_of_settings_holds_a_secret() -> None:
    for name in services():
        environment = unit(name).environment()
        assert not {"DATABASE_URL", "BROKER_URL", "STREAM_URL"} & set(environment)
        assert "://" not in json.dumps(environment)
