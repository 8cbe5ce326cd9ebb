"""Sluice as its users run it: the processes of the Procfile, on the bench's servers."""

import contextlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.check.totals import Totals
from bench.installation.processes import Started
from bench.installation.servers import Servers
from bench.load.posting import Target
from bench.measuring import account
from bench.measuring.ledger import LedgerReader
from bench.measuring.measure import NotCounted
from bench.places import ROOT
from deploy.local import ports

READY_WITHIN_S = 60.0


@dataclass(kw_only=True)
class Sluice:
    """A `measure.Subject`. `slugs` are the customers that the load is spread over."""

    name: str
    servers: Servers
    started: Started
    ledger: LedgerReader
    port: int
    keys: dict[str, str] = field(default_factory=dict)
    slugs: list[str] = field(default_factory=list)
    on_postgresql: bool = True
    _since: int = 0
    _before: Totals = field(default_factory=Totals)

    def targets(self) -> list[Target]:
        return [Target(host=ports.HOST, port=self.port, key=self.keys[slug]) for slug in self.slugs]

    def roles(self) -> dict[str, list[int]]:
        named = {"receiver": "receiver", "dispatcher": "dispatcher", "worker": "workers"}
        living = self.started.running()
        ours = {role: [self.started.pid(name)] for name, role in named.items() if name in living}
        return ours | self.servers.roles(with_database=self.on_postgresql)

    def begin(self) -> None:
        self.started.check()
        self._since = self.ledger.last_window()
        self._before = self.ledger.totals()

    @property
    def since(self) -> int:
        """The last window before `begin`."""
        return self._since

    def committed(self) -> int:
        return self.ledger.committed(self._since)

    def check(self, events: int, totals: Totals | None = None) -> None:
        """`flask books`: balanced, nothing in flight, nothing rejected or in quarantine; then the sums."""
        said = self.started.run("-m", "flask", "--app", "webapp", "books", "--json", check=False)
        try:
            books = json.loads(said.stdout)
        except ValueError:
            raise NotCounted(f"flask books said nothing: {said.stderr[-500:]}") from None
        if not books["balanced"]:
            raise NotCounted(
                f"the books do not balance: {[one['differences'] for one in books['customers']]}"
            )
        for name in ("owed_batches", "rejected", "quarantined", "expired"):
            if wrong := sum(one[name] for one in books["customers"]):
                raise NotCounted(f"the books have {wrong} {name} where nothing was to be")
        if (found := self.committed()) != events:
            raise NotCounted(f"{events} events were accepted, {found} are in the books")
        if totals and (wrong := (self._before + totals).differences(self.ledger.totals())):
            raise NotCounted(f"in the database, {', '.join(wrong)}")

    def add_customers(self, *slugs: str) -> None:
        """New customers with their keys."""
        self.keys |= json.loads(self.started.run("-m", "bench.installation.customers", *slugs).stdout)

    def serve(self, customers: int) -> None:
        """Spread the load over so many customers, added when new."""
        # Streams outlive an installation's database: each has slugs of its own.
        slugs = [f"{self.name}-{at}" for at in range(1, customers + 1)]
        new = [slug for slug in slugs if slug not in self.keys]
        if new:
            self.add_customers(*new)
        self.slugs = slugs

    def start_receiver(self) -> None:
        self._start("receiver")
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._ready():
            self.started.check()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"no receiver after {READY_WITHIN_S:.0f} s: {self.started.log_end('receiver')}"
                )
            time.sleep(0.1)

    def start_dispatcher(self) -> None:
        self._start("dispatcher")

    def start_worker(self, processes: int) -> None:
        """A worker with so many child processes."""
        self._start("worker", f"--concurrency={processes}")

    def peak_memory(self) -> dict[str, int]:
        """Bytes, of the largest process of each kind since it was started."""
        pid = self.started.pid
        return {
            "receiver worker": _largest_child(pid("receiver")),
            "dispatcher": account.peak_memory(pid("dispatcher")),
            "prefork child": _largest_child(pid("worker")),
            "celery parent": account.peak_memory(pid("worker")),
            "broker": account.peak_memory(self.servers.node.pid),
            "database backend": _largest_child(self.servers.postgres.pid),
        }

    def _start(self, name: str, *extra: str) -> None:
        self.started.start(name, " ".join([_procfile()[name], *extra]))

    def _ready(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, OSError):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{ports.HOST}:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        return False


@contextlib.contextmanager
def installed(servers: Servers, database_url: str, *, name: str) -> Iterator[Sluice]:
    """Sluice on a migrated database, nothing started yet; all of it stopped at the end."""
    port, operators = ports.free(2)
    environment = {
        "DATABASE_URL": database_url,
        "BROKER_URL": servers.node.amqp_url,
        "STREAM_URL": servers.node.stream_url,
        "SLUICE_HTTP_BIND": f"{ports.HOST}:{port}",
        "SLUICE_HTTP_METRICS_BIND": f"{ports.HOST}:{operators}",
        "SLUICE_TASK_DISPATCHER_METRICS_BIND": f"{ports.HOST}:0",
        "SLUICE_TASK_WORKER_METRICS_BIND": f"{ports.HOST}:0",
    }
    folder = servers.folder / name
    folder.mkdir()
    started, ledger = (
        Started(folder=folder, mark=servers.mark, environment=environment),
        LedgerReader(database_url),
    )
    sluice = Sluice(
        name=name,
        servers=servers,
        started=started,
        ledger=ledger,
        port=port,
        on_postgresql=database_url.startswith("postgresql"),
    )
    try:
        yield sluice
    finally:
        started.stop()
        ledger.close()


def _procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return dict(match.groups() for line in lines if (match := re.match(r"(\w+): (.*)", line)))  # type: ignore[misc]


def _largest_child(pid: int) -> int:
    return max((account.peak_memory(child) for child in account.descendants(pid) if child != pid), default=0)
