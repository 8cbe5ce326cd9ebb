"""`make run`, `make up`, `make down`: `python -m deploy.local.run [up|down]` in the top folder of a clone.

DEMO=0 in the environment leaves demo customers and agents out. DATABASE_URL, and BROKER_URL with STREAM_URL,
name servers to use in place of our own (MANAGEMENT_URL: the broker's management plugin, for Flower).
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from deploy.local import leftovers, places, runfile, sqlite
from deploy.local.install import PackageMissing
from deploy.local.stack import START_WITHIN_S, Stack
from deploy.local.steps import StartFailed
from deploy.local.table import Screen, Silent, screen
from environment import secret_files, starting

EXIT_FAILED = 1
EXIT_USAGE = 2
STOP_WITHIN_S = 180.0
BACKGROUND = "background"


def main(arguments: list[str]) -> int:
    with starting.stopping():
        starting.check()
        secret_files.unfold()
    where = places.Places(Path.cwd())
    if not (where.root / "Procfile").exists():
        print("there is no Procfile here: run this in the top folder of the clone", file=sys.stderr)
        return EXIT_USAGE
    match arguments:
        case []:
            return foreground(where, screen())
        case [one] if one == BACKGROUND:
            return foreground(where, Silent())
        case ["up"]:
            return up(where)
        case ["down"]:
            return down(where)
    print("usage: python -m deploy.local.run [up|down]", file=sys.stderr)
    return EXIT_USAGE


def foreground(where: places.Places, shown: Screen) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; 0 when all was stopped in order."""
    lock = runfile.Lock(where.var)
    if not lock.take():
        shown.close()
        print(f"{_running(where, lock.holder())}: stop it with `make down` first", file=sys.stderr)
        return EXIT_FAILED
    problem = ""
    try:
        stack = Stack(where, demo=os.environ.get("DEMO", "1") != "0", screen=shown)

        def ask(number: int, frame: FrameType | None) -> None:
            stack.ask_to_stop()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, ask)
        stack.run()
    except (StartFailed, PackageMissing, places.HalfGiven) as why:
        problem = str(why)
    finally:
        shown.close()
        _checkpoint(where)
        lock.close()
    print(problem or "all stopped", file=sys.stderr)
    return EXIT_FAILED if problem else 0


def up(where: places.Places) -> int:
    """Start in the background and wait until it is ready; says where it is, also when it ran before."""
    lock = runfile.Lock(where.var)
    pid = lock.holder()
    child = None if pid else _background(where)
    until = time.monotonic() + START_WITHIN_S + 10
    try:
        while (run := _ready(where, child.pid if child else pid)) is None:
            if (child.poll() is not None if child else lock.holder() is None) or time.monotonic() > until:
                print(
                    (where.logs / "up.log").read_text().strip() or "it ended while starting", file=sys.stderr
                )
                return EXIT_FAILED
            time.sleep(0.1)
    except KeyboardInterrupt:
        if child:
            child.terminate()
            child.wait()
        return EXIT_FAILED
    shown = "\n            ".join(run["metrics"].values())
    print(
        f"receiver    {run['receiver']}\nFlower      {run['flower']}\n"
        f"metrics     {shown}\nstop it     make down\n"
        f"details     {where.var / runfile.RUN_JSON}; for a shell: . {where.var / runfile.RUN_ENV}"
    )
    return 0


def down(where: places.Places) -> int:
    """Stop what runs in this clone, in the background or not, and wait until it is gone."""
    lock = runfile.Lock(where.var)
    pid = lock.holder()
    if pid is None:
        left = leftovers.stop_run(leftovers.every_run(where.var))
        runfile.forget(where.var)
        _checkpoint(where)
        print("nothing is running" + (f"; killed {len(left)} leftovers" if left else ""))
        return 0
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + STOP_WITHIN_S
    while lock.holder() is not None:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.1)
    leftovers.stop_run(leftovers.every_run(where.var))
    _checkpoint(where)
    print("all stopped")
    return 0


def _checkpoint(where: places.Places) -> None:
    if problem := sqlite.checkpoint(where.database):
        print(problem, file=sys.stderr)


def _background(where: places.Places) -> "subprocess.Popen[bytes]":
    where.logs.mkdir(parents=True, exist_ok=True)
    with (where.logs / "up.log").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.local.run", BACKGROUND],
            cwd=where.root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _ready(where: places.Places, pid: int | None) -> dict[str, Any] | None:
    run = runfile.read_run(where.var)
    return run if run and run["ready"] and run["pid"] == pid else None


def _running(where: places.Places, pid: int | None) -> str:
    run = runfile.read_run(where.var)
    at = f", receiver {run['receiver']}" if run else ""
    return f"it already runs in this clone (pid {pid}{at})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
