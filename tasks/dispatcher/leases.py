"""Which customers this dispatcher serves, agreed with the other dispatchers through rows with an epoch and
a beat.

No clock of any host is compared with another's: a lease is dead when its beat has not changed for
`stale_s` seconds of *this* process's monotonic clock, or at once when its holder was a process of this
host that is gone. Two holders that both believe in their lease do no harm: the epoch in every dispatch
transaction lets one of them through.
"""

import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

import db.ledger.leases
import db.ledger.workers
from db.clock import now_us


def own_name() -> str:
    """`host:pid:started:token`: unlike that of any other process, on any host, at any time."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_started(pid)}:{secrets.token_hex(4)}"


def is_gone(holder: str) -> bool:
    """Whether `holder` was a process of this host that no longer runs (unknown counts as running)."""
    host, _, rest = holder.partition(":")
    pid, _, rest = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _started(int(pid)) != rest.partition(":")[0]


def _started(pid: int) -> str:
    """The start time of a process in clock ticks since boot (proc(5), field 22 of stat); empty when it is
    gone.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


@dataclass(kw_only=True)
class Leases:
    """The leases of this process. `held` maps customer ids to the epoch under which they are held."""

    stale_s: float
    holder: str = field(default_factory=own_name)
    held: dict[int, int] = field(default_factory=dict)
    _beats: dict[int, tuple[tuple[int, int], float]] = field(default_factory=dict)
    _met: bool = False
    _peers: dict[str, tuple[int, float]] = field(default_factory=dict)  # other dispatchers: beat, seen at

    def tick(self, connection: Connection, wanted: set[int]) -> None:
        """Renew what is held, let go of what is not `wanted` or more than a fair share, claim what nobody
        holds.
        """
        now = time.monotonic()
        kept = db.ledger.leases.renew(connection, self.holder, sorted(wanted & self.held.keys()))
        self.held = {customer: epoch for customer, epoch in self.held.items() if customer in kept}
        leases = {lease.customer_id: lease for lease in db.ledger.leases.peek(connection)}
        self._observe(leases, now)
        self._meet(connection, now)
        fair = -(-len(wanted) // (1 + len(self._alive(now))))
        for customer in sorted(wanted - self.held.keys()):
            lease = leases.get(customer)
            if lease is None or (len(self.held) >= fair and lease.holder is None):
                continue
            if lease.holder is None or self._dead(lease, now):
                epoch = db.ledger.leases.claim(connection, customer, self.holder, lease.epoch)
                if epoch is not None:
                    self.held[customer] = epoch
        self.release(connection, sorted(self.held)[fair:])

    @property
    def first(self) -> bool:
        """Whether this dispatcher is the one of those alive that does what one does for all. Two may believe
        so for a moment.
        """
        return self._met and all(self.holder < peer for peer in self._alive(time.monotonic()))

    def leave(self, connection: Connection) -> None:
        """Give everything back: this dispatcher stops."""
        self.release(connection, list(self.held))
        db.ledger.workers.leave(connection, db.ledger.workers.DISPATCHER + self.holder)

    def release(self, connection: Connection, customers: list[int]) -> None:
        """Give leases back, so that another dispatcher can claim them at once."""
        db.ledger.leases.release(connection, self.holder, customers)
        for customer in customers:
            self.held.pop(customer, None)

    def _observe(self, leases: Mapping[int, db.ledger.leases.Lease], now: float) -> None:
        for deleted in self._beats.keys() - leases.keys():
            del self._beats[deleted]
        for customer, lease in leases.items():
            mark = (lease.epoch, lease.beat)
            if customer not in self._beats or self._beats[customer][0] != mark:
                self._beats[customer] = (mark, now)

    def _meet(self, connection: Connection, now: float) -> None:
        """Say that this dispatcher lives, and see which others do; those that do not are struck off."""
        db.ledger.workers.beat(connection, db.ledger.workers.DISPATCHER + self.holder, now_us(connection))
        said = db.ledger.workers.dispatchers(connection)
        said.pop(self.holder, None)
        seen = {peer: self._peers.get(peer, (-1, now)) for peer in said}
        self._peers = {
            peer: seen[peer] if seen[peer][0] == beat else (beat, now) for peer, beat in said.items()
        }
        self._met = True
        for peer in self._peers.keys() - self._alive(now):
            db.ledger.workers.leave(connection, db.ledger.workers.DISPATCHER + peer)

    def _alive(self, now: float) -> set[str]:
        return {
            peer for peer, (_, at) in self._peers.items() if now - at < self.stale_s and not is_gone(peer)
        }

    def _dead(self, lease: db.ledger.leases.Lease, now: float) -> bool:
        if lease.holder == self.holder:
            return True  # ours by name, not by memory: an earlier claim whose commit was not seen
        return is_gone(lease.holder or "") or now - self._beats[lease.customer_id][1] >= self.stale_s
