"""`flask watch`: the customers that are worst off, every two seconds, for people and for scripts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import click
from flask.cli import with_appcontext
from sqlalchemy import Engine

import db.customers.rows
import db.quarantine.budget
from db.clock import today
from db.customers.rows import Customer
from db.engine import read
from db.errors import DatabaseUnavailable
from streams import Broker
from streams.errors import BrokerUnavailable
from webapp.accounting.lag import CustomerLag, LedgerLags, lags, ledger_lags
from webapp.terminal import command_context, documents, lag_rows
from webapp.terminal.exits import Command
from webapp.terminal.tables import show as show_table

OVER_S = 15.0  # rates and percentiles are of the last so many seconds
SHOWN = 20
STREAMS_A_LOOK = 200
"""Raw streams that one look asks, so that it is quick with thousands of customers."""
DEADLINE_S = 2.0
DATABASE_AWAY = "the database is away: agents still get 202; dispatch and deposit wait"
BROKER_AWAY = "the broker is away: agents get 503 and try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReport:
    """The worst customers, how many more there are, and what is wrong with broker or database.

    `withheld`: by slug, the rows of today's quarantine whose bytes were over its budget.
    """

    customers: Sequence[CustomerLag] = ()
    more: int = 0
    problem: str | None = None
    withheld: Mapping[str, int] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """For `documents.echo`."""
        full = [{"customer": slug, "quarantine_withheld_today": rows} for slug, rows in self.withheld.items()]
        return {
            "customers": [lag_rows.document(one) for one in self.customers],
            "more_customers": self.more,
            "problem": self.problem,
            "quarantine_full": full,
        }


@dataclass(slots=True, kw_only=True)
class Watch:
    """Looks again and again. What waits in a raw stream only the broker knows: the streams of the customers
    that are known to be worst are asked in each look, and those of all others in turn.
    """

    engine: Engine
    broker: Broker
    sort: str = lag_rows.OLDEST
    top: int = SHOWN
    _began_s: float = field(default_factory=time.monotonic)
    _waiting: dict[int, CustomerLag] = field(default_factory=dict)  # by customer id, as last asked
    _reached: str = ""  # the slug up to which the others had their turn

    def look(self) -> WatchReport:
        """The worst customers now.

        Raises db.errors.DatabaseUnavailable, streams.errors.BrokerUnavailable.
        """
        with read(self.engine) as connection:
            everyone = db.customers.rows.present(connection)
            withheld = db.quarantine.budget.withheld_on(connection, today(connection))
        # Right after the start nothing is as old as that yet.
        over_s = min(OVER_S, max(4.0, time.monotonic() - self._began_s))
        known = ledger_lags(self.engine, seconds=over_s)
        asked = self._chosen(known, everyone)
        found = lags(known, self.broker, asked, deadline_s=DEADLINE_S)
        for customer in asked:
            self._waiting.pop(customer.id, None)
        self._waiting |= {one.customer.id: one for one in found if one.batches}
        shown = lag_rows.in_order(found, self.sort)[: self.top]
        return WatchReport(
            customers=shown,
            more=len(everyone) - len(shown),
            withheld={one.slug: withheld[one.id] for one in everyone if one.id in withheld},
        )

    def _chosen(self, known: LedgerLags, everyone: Sequence[Customer]) -> list[Customer]:
        """Whose streams to ask: all, or those that seem worst, and as many of the others as there is room."""
        room = max(STREAMS_A_LOOK, 2 * self.top)
        if len(everyone) <= room:
            return list(everyone)
        there = {one.id for one in everyone}
        self._waiting = {each: one for each, one in self._waiting.items() if each in there}
        rough = [self._rough(lag) for one in everyone if (lag := known.of(one)) is not None]
        worst = lag_rows.in_order(rough, self.sort)[: room // 2]
        chosen = {one.customer.id for one in worst}
        rest = [one for one in everyone if one.id not in chosen]
        turn = [one for one in rest if one.slug > self._reached][: room - len(chosen)]
        self._reached = turn[-1].slug if turn and turn[-1] is not rest[-1] else ""
        return [one for one in everyone if one.id in chosen] + turn

    def _rough(self, lag: CustomerLag) -> CustomerLag:
        """With what waited in its raw stream when that was last asked."""
        waited = self._waiting.get(lag.customer.id)
        if waited is None:
            return lag
        return replace(
            lag,
            batches=max(lag.batches, waited.batches),
            oldest_s=max(lag.oldest_s or 0.0, waited.oldest_s or 0.0),
        )


@click.command("watch", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--every", type=click.FloatRange(0.2, 3600), default=2.0, help="Seconds between two looks.")
@lag_rows.sort_option
@click.option("--top", type=click.IntRange(1, 10_000), default=SHOWN, help="So many customers at most.")
@with_appcontext
def command(as_json: bool, every: float, sort: str, top: int) -> None:
    """Who is furthest behind, and who sends how much, again and again until interrupted."""
    with command_context.broker() as broker:
        watch = Watch(engine=command_context.parts().engine, broker=broker, sort=sort, top=top)
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
        documents.echo(seen.document())
        return
    show_table(lag_rows.HEADERS, [lag_rows.cells(one) for one in seen.customers])
    if seen.problem or seen.more:
        click.echo(seen.problem or f"and {seen.more:,} more")
    for slug, rows in sorted(seen.withheld.items())[:SHOWN]:
        click.echo(f"{slug}: today's quarantine is full, {rows:,} rows are only in the raw stream")
    if len(seen.withheld) > SHOWN:
        click.echo(f"and {len(seen.withheld) - SHOWN} more whose quarantine is full")
    click.echo()
