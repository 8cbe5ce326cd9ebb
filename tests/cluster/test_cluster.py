"""One node of three dies, or all are restarted one by one, while agents post: nothing is lost."""

import asyncio
import os
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import polars as pl
import pytest

from bench.check import expected, lag, stored
from bench.check.compare import compare
from deploy.local.cluster import SIZE, Cluster
from deploy.local.rabbitmq import RabbitNode
from streams import StreamSettings, raw
from streams.address import parse
from streams.connections.pool import Location, Pool
from tests.cluster.outcomes import FaultReport, record
from tests.cluster.traffic import CustomerTraffic
from tests.whole import Whole, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
AROUND = 40  # batches that have to be accepted before a fault, while a node is away, and afterwards
Fault = Callable[[Cluster, CustomerTraffic, str], None]
RELEASE = "4.x" if os.environ.get("BROKER") == "4" else "3.10"


def kill(number: int) -> Fault:
    def fault(cluster: Cluster, traffic: CustomerTraffic, slug: str) -> None:
        cluster.kill(number)
        goes_on(traffic)
        cluster.start_node(number)

    return fault


def kill_the_leader(cluster: Cluster, traffic: CustomerTraffic, slug: str) -> None:
    leader = located(cluster.nodes[0], slug).leader.port
    ports = [urlsplit(node.stream_url).port for node in cluster.nodes]
    kill(ports.index(leader))(cluster, traffic, slug)
    assert located(cluster.nodes[0], slug).leader.port != leader, "nobody else had to lead"


def roll(cluster: Cluster, traffic: CustomerTraffic, slug: str) -> None:
    for number in range(SIZE):
        cluster.stop_node(number)
        goes_on(traffic)
        cluster.start_node(number)
        goes_on(traffic)


FAULTS: dict[str, Fault] = {f"kill node {number + 1}": kill(number) for number in range(SIZE)} | {
    "kill the leader": kill_the_leader,
    "roll all three": roll,
}


def goes_on(traffic: CustomerTraffic) -> None:
    since = time.monotonic()
    until(lambda: traffic.accepted_since(since) >= AROUND, "agents to be answered 202 again")


@pytest.mark.parametrize("fault", FAULTS)
def test_agents_are_answered_and_nothing_is_lost(
    cluster: Cluster, whole: Whole, slug: str, fault: str
) -> None:
    traffic = CustomerTraffic(whole.url, whole.add_customer(slug))
    try:
        goes_on(traffic)
        began = time.monotonic()
        FAULTS[fault](cluster, traffic, slug)
        goes_on(traffic)
        ended = time.monotonic()
    finally:
        traffic.stop()
    assert traffic.accepted == len(traffic.sent), [sent for sent in traffic.sent if sent.detail][:3]
    refusals = {status: n for status, n in traffic.statuses().items() if status != 202}
    deposited_after_s = settle(whole, slug, traffic.accepted) - ended
    lost, duplicated, differences = compared(whole, slug, traffic)
    outcome = FaultReport(
        fault=fault,
        broker=RELEASE,
        accepted=traffic.accepted,
        refused_503=refusals.get(503, 0),
        lost=lost,
        duplicated=duplicated,
        longest_without_202_s=round(traffic.longest_silence_s(began, ended), 1),
        deposited_after_s=round(deposited_after_s, 1),
    )
    record(outcome)
    assert set(refusals) <= {503}
    assert not differences, outcome
    whole.flask("books", "--customer", slug)
    whole.flask("verify", slug)


def test_streams_lie_on_all_nodes_and_any_node_tells_where(cluster: Cluster, whole: Whole, slug: str) -> None:
    whole.add_customer(slug)
    for node in cluster.nodes:
        found = located(node, slug)
        assert len(set(found.replicas) | {found.leader}) == SIZE


def test_a_customer_is_added_and_served_while_the_first_node_is_away(
    cluster: Cluster, whole: Whole, slug: str
) -> None:
    cluster.kill(0)
    try:
        traffic = CustomerTraffic(whole.url, whole.add_customer(slug))
        try:
            goes_on(traffic)
        finally:
            traffic.stop()
        settle(whole, slug, traffic.accepted)
    finally:
        cluster.start_node(0)
    assert compared(whole, slug, traffic) == (0, 0, [])
    whole.flask("verify", slug)


def located(node: RabbitNode, slug: str) -> Location:
    """Where the customer's raw stream lies, as that node says."""

    async def ask() -> Location:
        pool = Pool(parse(node.stream_url), StreamSettings())
        try:
            return await pool.locate(raw(slug))
        finally:
            await pool.close(5.0)

    return asyncio.run(ask())


def settle(whole: Whole, slug: str, accepted: int) -> float:
    """Wait until every batch is in the ledger and no window is open; the moment when it was."""
    engine = stored.engine(whole.environment["DATABASE_URL"])

    def settled() -> bool:
        with engine.connect() as connection:
            found = lag.progress(connection, stored.customer_id(connection, slug))
        return found.passed >= accepted and found.windows == 0

    try:
        until(settled, f"the deposit of {accepted} batches")
        return time.monotonic()
    finally:
        engine.dispose()


def compared(whole: Whole, slug: str, traffic: CustomerTraffic) -> tuple[int, int, list[str]]:
    """Events missing, events too many, and every difference from the independent calculation in words."""
    engine = stored.engine(whole.environment["DATABASE_URL"])
    with engine.connect() as connection:
        customer = stored.customer_id(connection, slug)
        named = compare(traffic.posted(), connection, customer).named
        there = stored.interactions(connection, customer).select("trace_id", there="events")
    engine.dispose()
    wanted = expected.interactions(expected.counted(traffic.posted())).select("trace_id", wanted="events")
    both = wanted.join(there, on="trace_id", how="full", coalesce=True).fill_null(0)
    more = both.select(pl.col("there") - pl.col("wanted")).to_series()
    return -int(more.filter(more < 0).sum()), int(more.filter(more > 0).sum()), named
