"""One run: node, migrations, demo customers and the Procfile's processes, up and down in order."""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from honcho.environ import parse_procfile

from deploy.local import install, leftovers, places, records, runfile
from deploy.local.logs import LogFiles, one_line
from deploy.local.node import Moved, SupervisedNode
from deploy.local.steps import StartFailed, Steps
from deploy.local.supervise import Program, Supervisor
from deploy.local.table import RUN, ProcessRow, Screen, View, WatchedCustomer

START_WITHIN_S = 300.0  # the first start may install the broker
DRAW_EVERY_S = 0.5
DEATHS_WHILE_STARTING = 3
# The Procfile's order is the order of stopping: each drains into the next. Seconds before each is killed.
STOP_WITHIN_S = {
    "agents": 5.0,
    "receiver": 40.0,
    "dispatcher": 15.0,
    "worker": 60.0,
    "flower": 5.0,
    "watch": 3.0,
}
WATCH = "flask watch --json"
# Celery's two lines a task are Flower's matter; on the screen they would push out everything else.
EVERY_TASK = re.compile(rb"INFO/\w+(-\d+)?\] Task \S+ (received|succeeded in )")
LATE = ("agents", "watch")  # of no use, and in the way of the others, until these answer


class Interrupted(Exception):
    """The user asked for the end."""


class Stack:
    """Belongs to the main thread. `ask_to_stop` may be called at any time, by a signal's handler too."""

    def __init__(self, where: places.Places, *, demo: bool, screen: Screen) -> None:
        self._where = where
        self._demo = demo
        self._screen = screen
        self._view = View(note="starting")
        self._logs = LogFiles(where.logs)
        self._steps = Steps(where.root, logs=self._logs, stopping=lambda: self._asked > 0)
        self._mark = f"{leftovers.every_run(where.var)}{os.getpid()}-{secrets.token_hex(4)}"
        self._asked = 0
        self._node: SupervisedNode | None = None
        self._supervisor: Supervisor | None = None
        self._worker_ready = threading.Event()
        self._run: runfile.RunFile | None = None
        self._drawn_at = 0.0
        self._began = time.monotonic()

    def ask_to_stop(self) -> None:
        """The first time in order; from the second time on at once."""
        self._asked += 1

    def run(self) -> None:
        """From nothing to running, until asked to stop, and back to nothing. Raises StartFailed."""
        guard = self._guard()
        try:
            self._start()
            while True:
                self._poll(0.25)
        except Interrupted:
            pass
        finally:
            self._stop()
            guard.communicate()
            self._logs.close()

    def _start(self) -> None:
        every_run = leftovers.every_run(self._where.var)
        if left := leftovers.find(every_run):
            self._tell(f"stopping {len(left)} processes that an earlier run left behind")
            self._wait(self._steps.pool.submit(leftovers.stop_run, every_run))
        names = ("receiver", "flower", "operators", "dispatcher", "worker")
        ports = runfile.stable_ports(self._where.var, names)
        receiver, flower, operators, *others = (f"http://127.0.0.1:{port}" for port in ports.values())
        self._view.links = {"receiver": receiver, "Flower": flower}
        metrics = dict(zip(("receiver", "dispatcher", "worker"), (operators, *others), strict=True))
        self._view.links |= {"metrics": places.told(metrics), "logs": str(self._where.logs)}
        broker, management = self._broker_and_database()
        own = places.variables(
            self._where.database,
            amqp=broker.amqp,
            stream=broker.stream,
            receiver=receiver,
            operators=operators,
        )
        self._run = runfile.RunFile(
            pid=os.getpid(),
            receiver=receiver,
            operators=operators,
            metrics={name: f"{address}/metrics" for name, address in metrics.items()},
            flower=flower,
            management=management,
            broker=broker,
            database=self._where.database,
            key_files={slug: str(path) for slug, path in self._key_files().items()},
            logs=str(self._where.logs),
        )
        runfile.write_environment(self._where.var, own | places.for_doctor(management))
        needs = places.for_flower(ports["flower"], management) | places.for_metrics(metrics)
        self._start_processes(places.for_processes(self._mark) | own | needs)

    def _broker_and_database(self) -> tuple[runfile.BrokerUrls, str | None]:
        """The database is migrated while the node boots."""
        given = places.given_broker()
        # The node inherits the runner's environment; everything else is given its own.
        os.environ[leftovers.MARK] = self._mark + leftovers.NODE
        booting: Future[Any] | None = None
        if given is None:
            self._node = SupervisedNode(
                self._where.node, mark=self._mark + leftovers.NODE, pool=self._steps.pool, tell=self._tell
            )
            booting = self._steps.timed("node", self._node.start())
        environment = places.for_processes(self._mark) | {"DATABASE_URL": self._where.database}
        self._wait(self._steps.command("migrations", ("alembic", "upgrade", "head"), environment))
        if booting is None:
            assert given is not None
            return runfile.BrokerUrls(amqp=given[0], stream=given[1]), os.environ.get("MANAGEMENT_URL")
        running = self._wait(booting)
        return runfile.BrokerUrls(amqp=running.amqp_url, stream=running.stream_url), running.management_url

    def _start_processes(self, environment: dict[str, str]) -> None:
        assert self._run is not None
        programs = self._programs()
        self._supervisor = Supervisor(
            programs,
            environment=environment,
            folder=str(self._where.root),
            on_line=self._on_line,
            tell=self._tell,
        )
        adding = [
            self._steps.command("customers", _add_customer(slug, path), environment)
            for slug, path in self._key_files().items()
        ]
        self._supervisor.start(*(one.name for one in programs if one.name not in LATE))
        answering = [
            self._steps.answers("receiver", f"{self._run.receiver}/readyz"),
            self._steps.answers("Flower", f"{self._run.flower}/healthcheck"),
            self._steps.happens("worker", self._worker_ready),
        ]
        for future in (*adding, *answering):
            self._wait(future)
        self._supervisor.start(*(one.name for one in programs if one.name in LATE))
        while not all(state.settled for state in self._supervisor.states.values()):
            self._poll(0.05)
            self._give_up_when_hopeless()
        self._write_run(ready=True)
        self._view.note = "Ctrl-C stops everything"
        seconds = time.monotonic() - self._began
        self._tell(
            f"up after {seconds:.1f} s: receiver {self._run.receiver} Flower {self._run.flower}"
            f" metrics {self._view.links['metrics']}"
        )

    def _programs(self) -> list[Program]:
        commands = parse_procfile((self._where.root / "Procfile").read_text()).processes
        return [
            Program(name=name, command=command, stop_within_s=STOP_WITHIN_S.get(name, 10.0))
            for name, command in [*commands.items(), ("watch", WATCH)]
            if self._demo or name != "agents"
        ]

    def _key_files(self) -> dict[str, Path]:
        return self._where.key_files if self._demo else {}

    def _wait(self, future: "Future[Any]") -> Any:
        """The future's result; the table lives on meanwhile. Raises StartFailed, Interrupted."""
        while not future.done():
            self._poll(0.05)
            self._give_up_when_hopeless()
        try:
            return future.result()
        except (OSError, install.PackageMissing, records.Running) as problem:
            raise StartFailed(str(problem)) from problem

    def _give_up_when_hopeless(self) -> None:
        if time.monotonic() - self._began > START_WITHIN_S:
            raise StartFailed(f"not up after {START_WITHIN_S:.0f} s; the logs in {self._where.logs} say why")
        for name, state in (self._supervisor.states if self._supervisor else {}).items():
            if state.restarts >= DEATHS_WHILE_STARTING:
                said = " / ".join(self._logs.last(name, 3))
                raise StartFailed(f"{name} does not start ({self._logs.path(name)}): {said}")

    def _poll(self, timeout_s: float) -> None:
        if self._asked:
            raise Interrupted
        if self._supervisor is None:
            time.sleep(timeout_s)
        else:
            self._supervisor.poll(timeout_s)
            self._check_node()
        self._write_run()
        self._draw()

    def _check_node(self) -> None:
        if self._node is None:
            return
        try:
            self._node.check()
        except Moved as why:
            raise StartFailed(str(why)) from why

    def _on_line(self, name: str, line: bytes) -> None:
        """Called from the thread that reads the process."""
        if name == "watch" and line.startswith(b"{") and b'"customers"' in line:
            self._take_figures(json.loads(line))
            return
        self._logs.write(name, line)
        if not EVERY_TASK.search(line) and (text := one_line(line)):
            self._view.lines.append((name, text))
        if name == "worker" and line.rstrip().endswith(b" ready."):
            self._worker_ready.set()

    def _take_figures(self, figures: dict[str, Any]) -> None:
        self._view.problem = figures["problem"]
        if self._view.problem is None:
            self._view.customers = [WatchedCustomer.of(one) for one in figures["customers"]]
            self._view.left_out = figures["more_customers"]

    def _tell(self, text: str) -> None:
        self._logs.write(RUN, f"{time.strftime('%H:%M:%S')} {text}")
        self._view.lines.append((RUN, text))
        self._screen.tell(text)

    def _write_run(self, *, ready: bool = False) -> None:
        if self._run is None or self._supervisor is None:
            return
        pids = self._supervisor.pids()
        if self._node is not None and (pid := self._node.row().pid):
            pids["node"] = pid
        if ready or pids != self._run.processes:
            self._run = replace(self._run, ready=ready or self._run.ready, processes=pids)
            runfile.write_run(self._where.var, self._run)

    def _draw(self) -> None:
        if time.monotonic() - self._drawn_at < DRAW_EVERY_S:
            return
        self._drawn_at = time.monotonic()
        rows = [self._node.row()] if self._node else []
        for name, state in (self._supervisor.states if self._supervisor else {}).items():
            rows.append(ProcessRow(name, state.pid, state.words, state.well))
        self._view.rows = rows
        self._screen.show(self._view)

    def _guard(self) -> "subprocess.Popen[bytes]":
        """Sleeps until its standard input closes: when we close it, or when we are killed."""
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.local.leftovers", self._mark],
            cwd=self._where.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _stop(self) -> None:
        self._asked = max(self._asked, 1)
        self._view.note = "stopping; a second Ctrl-C does not wait for work under way"
        if self._supervisor is not None:
            self._supervisor.stop(hurry=self._hurry)
        self._patiently(
            self._steps.pool.submit(leftovers.stop, self._mark + leftovers.PROCESSES, within_s=5.0)
        )
        if self._node is not None:
            self._patiently(self._node.stop())
        self._patiently(self._steps.pool.submit(leftovers.stop, self._mark, within_s=5.0))
        self._steps.pool.shutdown()
        leftovers.reap()
        runfile.forget(self._where.var)

    def _hurry(self) -> bool:
        self._draw()
        return self._asked > 1

    def _patiently(self, future: "Future[Any]") -> None:
        while not future.done():
            self._draw()
            time.sleep(0.05)
        future.result()


def _add_customer(slug: str, key_file: Path) -> tuple[str, ...]:
    return ("flask", "customers", "add", slug, "--exist-ok", "--key-file", str(key_file))
