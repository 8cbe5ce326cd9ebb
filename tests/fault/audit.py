"""What has to hold after a fault: nothing lost, nothing twice, the books, the stream, the calculation."""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from unittest.mock import patch

import polars as pl
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from bench.agents.encode import OTLP_FORMATS
from bench.check import expected, lag, stored
from bench.check.compare import compare
from tests.fault.installation import Installation
from tests.fault.traffic import Stream, Traffic
from tests.whole import ROOT, until
from webapp import create_app

RECOVERS_WITHIN_S = 60.0  # of the end of a fault
PATIENCE_S = 90.0
AFTERWARDS = 10  # batches that each customer has to get through after a fault
RECORDS = ROOT / "var" / "fault"
OUTCOMES = RECORDS / "outcomes.jsonl"
_DEPOSITED = text(
    "SELECT b.batch_id FROM batches AS b JOIN windows AS w ON w.id = b.window_id"
    " WHERE b.customer_id = :customer AND w.state = 'deposited'"
)


@dataclass(frozen=True, kw_only=True)
class FaultAudit:
    """One try of a fault. `lost`: batches that were answered 202, and events; `duplicated`: events."""

    fault: str
    database: str
    batches: int
    requests: int
    lost: int
    duplicated: int
    recovered_s: float
    differences: list[str] = field(default_factory=list)


def recovered(installation: Installation, traffic: Traffic) -> float:
    """Wait until all that was accepted by now is deposited, and some batches that are posted from now on.

    Returns the seconds that it took. The traffic goes on.
    """
    since = time.monotonic()
    owed = {each.slug: each.accepted() for each in traffic.streams}
    for each in traffic.streams:

        def back(each: Stream = each) -> bool:
            there = deposited(installation.engine, each.slug)
            return owed[each.slug] <= there and len(there) >= len(owed[each.slug]) + AFTERWARDS

        until(back, f"what {each.slug} is owed, and new batches", deadline_s=PATIENCE_S)
    return time.monotonic() - since


def deposited(engine: Engine, slug: str) -> set[str]:
    """The ids of the customer's deposited batches; none while the database is away."""
    try:
        with engine.connect() as conn:
            customer = stored.customer_id(conn, slug)
            return set(conn.execute(_DEPOSITED, {"customer": customer}).scalars())
    except DBAPIError:
        return set()


def settle(installation: Installation, traffic: Traffic) -> None:
    """Let the agents finish, and wait until every batch is deposited and no window is open."""
    traffic.stop()
    for each in traffic.streams:

        def settled(each: Stream = each) -> bool:
            if not each.accepted() <= deposited(installation.engine, each.slug):
                return False
            with installation.engine.connect() as conn:
                return lag.progress(conn, stored.customer_id(conn, each.slug)).windows == 0

        until(settled, f"the last batches of {each.slug}", deadline_s=PATIENCE_S)


def audit(installation: Installation, traffic: Traffic, *, fault: str, recovered_s: float) -> FaultAudit:
    """Compare everything with everything; call it when all has settled."""
    lost = duplicated = 0
    differences: list[str] = []
    for each in traffic.streams:
        unanswered = sorted(set(each.answered) - each.accepted())
        differences += [f"{each.slug}: {each.answered[batch]} was not accepted" for batch in unanswered[:5]]
        lost += len(each.accepted() - deposited(installation.engine, each.slug))
        missing, twice, named = _results(installation.engine, each)
        lost += missing
        duplicated += twice
        differences += named
        differences += _flask(installation, "books", "--customer", each.slug, "--results")
        differences += _flask(installation, "verify", each.slug)
    return FaultAudit(
        fault=fault,
        database=installation.engine.dialect.name,
        batches=sum(len(each.accepted()) for each in traffic.streams),
        requests=traffic.tries,
        lost=lost,
        duplicated=duplicated,
        recovered_s=round(recovered_s, 1),
        differences=differences[:20],
    )


def _results(engine: Engine, stream: Stream) -> tuple[int, int, list[str]]:
    """Events missing, events too many, and every difference in words."""
    with engine.connect() as conn:
        customer = stored.customer_id(conn, stream.slug)
        found = compare(stream.posted(), conn, customer, otlp=stream.form in OTLP_FORMATS)
        there = stored.interactions(conn, customer).select("trace_id", there="events")
    wanted = expected.interactions(expected.counted(stream.posted())).select("trace_id", wanted="events")
    both = wanted.join(there, on="trace_id", how="full", coalesce=True).fill_null(0)
    more = both.select(pl.col("there") - pl.col("wanted")).to_series()
    return -int(more.filter(more < 0).sum()), int(more.filter(more > 0).sum()), found.named


def _flask(installation: Installation, *arguments: str) -> list[str]:
    """Run a command as an operator would, in this process; what it says when it does not agree."""
    with patch.dict(os.environ, installation.whole.environment):
        app = create_app()
        done = app.test_cli_runner(catch_exceptions=False).invoke(args=list(arguments))
    app.extensions["sluice"].close()
    return [] if done.exit_code == 0 else [f"flask {' '.join(arguments)}: {done.output[:1000]}"]


def record(outcome: FaultAudit) -> None:
    """Keep the outcome for `tests.fault.table`."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    with OUTCOMES.open("a") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")
