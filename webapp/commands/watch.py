"""`flask watch`: the busiest customers every two seconds, for the table of `make run` and for scripts."""

import json
import time
from dataclasses import asdict, dataclass, field

import click
from flask.cli import with_appcontext
from sqlalchemy import Connection, Engine

import db.accounting.lag
import db.customers.rows
import db.quarantine.budget
from db.clock import now_us, today
from db.customers.rows import Customer
from db.engine import read
from db.errors import DatabaseUnavailable
from streams import Broker
from streams.errors import BrokerUnavailable
from webapp.accounting.lag import US, CustomerLag, lags
from webapp.terminal import command_context
from webapp.terminal.exits import Command
from webapp.terminal.tables import show as show_table

OVER_S = 15.0  # rates and percentiles are of the last so many seconds
SHOWN = 20
DEADLINE_S = 2.0
DATABASE_AWAY = "the database is away: agents still get 202; dispatch and deposit wait"
BROKER_AWAY = "the broker is away: agents get 503 and try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRow:
    """One customer now: batches accepted and not deposited, and the age of the oldest of them in seconds.

    Percentiles are seconds from accepted to committed, None when nothing was deposited lately.
    """

    slug: str
    state: str
    batches_per_s: float
    events_per_s: float
    lag_batches: int
    lag_s: float
    p50_s: float | None
    p99_s: float | None
    p999_s: float | None
    balanced: bool

    @classmethod
    def of(cls, lag: CustomerLag) -> "WatchRow":
        latency = lag.latency
        return cls(
            slug=lag.customer.slug,
            state=lag.customer.shown_state,
            batches_per_s=round(lag.batches_per_s, 2),
            events_per_s=round(lag.events_per_s, 1),
            lag_batches=lag.batches,
            lag_s=round(lag.oldest_s or 0.0, 3),
            p50_s=latency.p50_us / US if latency else None,
            p99_s=latency.p99_us / US if latency else None,
            p999_s=latency.p999_us / US if latency else None,
            balanced=lag.balanced,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """The busiest customers by slug, how many are left out, and what is wrong with broker or database.

    `withheld`: by slug, the rows of today's quarantine whose bytes were over its budget.
    """

    customers: list[WatchRow] = field(default_factory=list)
    left_out: int = 0
    problem: str | None = None
    withheld: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Watch:
    engine: Engine
    broker: Broker
    _began_s: float = field(default_factory=time.monotonic)

    def look(self) -> WatchReport:
        """The busiest customers now.

        Raises db.errors.DatabaseUnavailable, streams.errors.BrokerUnavailable.
        """
        with read(self.engine) as connection:
            everyone = db.customers.rows.everyone(connection)
            chosen = everyone if len(everyone) <= SHOWN else _busiest(connection, everyone)
            withheld = db.quarantine.budget.withheld_on(connection, today(connection))
        # Right after the start nothing is as old as that yet.
        over_s = min(OVER_S, max(4.0, time.monotonic() - self._began_s))
        found = lags(self.engine, self.broker, chosen, seconds=over_s, deadline_s=DEADLINE_S)
        return WatchReport(
            customers=sorted(map(WatchRow.of, found), key=lambda row: row.slug),
            left_out=len(everyone) - len(chosen),
            withheld={one.slug: withheld[one.id] for one in everyone if one.id in withheld},
        )


def _busiest(connection: Connection, everyone: list[Customer]) -> list[Customer]:
    """Those with the most batches in flight, then with the most events deposited."""
    known = db.accounting.lag.lag(connection, now_us(connection), seconds=OVER_S)
    work = {lag.customer_id: (lag.batches, lag.deposited_events) for lag in known}
    return sorted(everyone, key=lambda one: work.get(one.id, (0, 0)), reverse=True)[:SHOWN]


@click.command("watch", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=2.0, help="Seconds between two looks.")
@with_appcontext
def command(as_json: bool, every: float) -> None:
    """Who sends how much and how far behind each is, again and again until interrupted."""
    with command_context.broker() as broker:
        watch = Watch(command_context.parts().engine, broker)
        while True:
            _show(watch, as_json)
            time.sleep(every)


def _show(watch: Watch, as_json: bool) -> None:
    try:
        seen = watch.look()
    except DatabaseUnavailable:
        seen = WatchReport(problem=DATABASE_AWAY)
    except BrokerUnavailable:
        seen = WatchReport(problem=BROKER_AWAY)
    if as_json:
        click.echo(json.dumps(asdict(seen)))
        return
    headers = ["customer", "state", "batches/s", "events/s", "lag", "behind s", "p50 s", "p99 s", "p99.9 s"]
    show_table([*headers, "balanced"], [list(asdict(row).values()) for row in seen.customers])
    if seen.problem or seen.left_out:
        click.echo(seen.problem or f"and {seen.left_out} more")
    for slug, rows in sorted(seen.withheld.items())[:SHOWN]:
        click.echo(f"{slug}: today's quarantine is full, {rows:,} rows are only in the raw stream")
    if len(seen.withheld) > SHOWN:
        click.echo(f"and {len(seen.withheld) - SHOWN} more whose quarantine is full")
    click.echo()
