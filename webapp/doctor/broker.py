"""Checks of the broker: reachable by both protocols, streams and queues as Sluice declares them, no alarm."""

import re
from collections.abc import Mapping

from db.customers.rows import OWN_QUEUE, own_queue
from streams import processed, raw
from streams.address import parse
from streams.management import QueueRow
from streams.release import OLDEST, amqp_release, numbers
from webapp.doctor.examined import ANSWER_S, Examined
from webapp.doctor.findings import CheckOutcome, fail, named, ok, warn, worst
from webapp.terminal.new_customer import wanted_streams

NOT_ASKED = "not looked at: only the management plugin tells"
ASK = "set MANAGEMENT_URL"
_OF_CUSTOMERS = re.compile(
    rf"(?:{re.escape(raw(''))}|{re.escape(processed(''))}|{OWN_QUEUE})(?P<slug>[a-z0-9-]{{1,40}})"
)
_TYPE, _BYTES, _AGE = "x-queue-type", "x-max-length-bytes", "x-max-age"


def broker(examined: Examined) -> CheckOutcome:
    by_amqp = amqp_release(examined.streams.broker_url, examined.streams.connect_timeout_s)
    by_stream = examined.broker.release(deadline_s=ANSWER_S)
    if by_amqp != by_stream:
        return warn(
            f"BROKER_URL leads to RabbitMQ {by_amqp}, STREAM_URL to {by_stream}",
            "make sure that both name nodes of one cluster",
        )
    if numbers(by_amqp) < OLDEST:
        return fail(f"RabbitMQ {by_amqp} is too old", "use RabbitMQ 3.10 or newer")
    return ok(f"RabbitMQ {by_amqp}, by AMQP and by the stream protocol")


def streams(examined: Examined) -> CheckOutcome:
    wanted = [name(one.slug) for one in examined.customers for name in (raw, processed)]
    states = examined.broker.states(wanted, deadline_s=ANSWER_S)
    missing = sorted(name for name in wanted if states.get(name) == "missing")
    leaderless = sorted(name for name in wanted if states.get(name) == "leaderless")
    outcomes = []
    if missing:
        outcomes.append(
            fail(f"missing: {named(missing)}", "`flask customers add SLUG --exist-ok` makes them, empty")
        )
    if leaderless:
        outcomes.append(
            fail(f"without a leader: {named(leaderless)}", "look at the broker's nodes (docs/cluster.md)")
        )
    return worst(outcomes) if outcomes else ok(f"both of each of {len(examined.customers):,} customers")


def arguments(examined: Examined) -> CheckOutcome:
    rows = _rows(examined)
    if rows is None:
        return warn(NOT_ASKED, ASK)
    outcomes = _of_streams(examined, rows) + _of_queues(examined, rows)
    return worst(outcomes) if outcomes else ok("streams and queues are declared as by Sluice")


def orphans(examined: Examined) -> CheckOutcome:
    rows = _rows(examined)
    if rows is None:
        return warn(NOT_ASKED, ASK)
    slugs = {one.slug for one in examined.everyone}
    found = sorted(name for name in rows if (of := _OF_CUSTOMERS.fullmatch(name)) and of["slug"] not in slugs)
    if not found:
        return ok("every stream and queue has its customer")
    return warn(
        f"of no customer: {named(found)}",
        "when no customer of another installation has them, delete them with `rabbitmqctl delete_queue`",
    )


def alarms(examined: Examined) -> CheckOutcome:
    if examined.management is None:
        return warn(NOT_ASKED, ASK)
    nodes = examined.management.nodes()
    outcomes = [fail(f"{one.name} is down", "start it") for one in nodes if not one.running]
    for one in nodes:
        if one.memory_alarm:
            outcomes.append(fail(f"{one.name} has too little memory and takes nothing", "give it more"))
        if one.disk_alarm:
            outcomes.append(
                fail(f"{one.name} has too little disk and takes nothing", "free some, or lower retention")
            )
        elif one.disk_free and one.disk_limit and one.disk_free < 2 * one.disk_limit:
            outcomes.append(
                warn(
                    f"{one.name} has {one.disk_free:,} bytes of disk; it stops at {one.disk_limit:,}",
                    "free some, or lower retention",
                )
            )
        if one.descriptors and (one.descriptors_used or 0) > 0.8 * one.descriptors:
            outcomes.append(
                warn(
                    f"{one.name} uses {one.descriptors_used:,} of {one.descriptors:,} file descriptors",
                    "raise its limit of open files: a stream takes two",
                )
            )
    return worst(outcomes) if outcomes else ok(f"none; nodes that run: {len(nodes)}")


def _rows(examined: Examined) -> Mapping[str, QueueRow] | None:
    if examined.management is None:
        return None
    vhost = parse(examined.streams.url).vhost
    return {row.name: row for row in examined.management.queues(vhost) if not row.exclusive}


def _of_streams(examined: Examined, rows: Mapping[str, QueueRow]) -> list[CheckOutcome]:
    foreign, endless, other = [], [], []
    for customer in examined.customers:
        for wanted in wanted_streams(examined.retention, customer.slug):
            name, declared = wanted.name, wanted.arguments
            row = rows.get(name)
            if row is None:
                continue  # the check `streams` says so
            if row.type != "stream":
                foreign.append(name)
            elif not (row.arguments.get(_BYTES) and row.arguments.get(_AGE)):
                endless.append(name)
            elif {key: row.arguments.get(key) for key in declared} != declared:
                other.append(name)
    outcomes = []
    if foreign:
        outcomes.append(fail(f"no streams: {named(foreign)}", "give these names up elsewhere"))
    if endless:
        outcomes.append(
            fail(
                f"streams without a limit of bytes or of age: {named(endless)}",
                "they fill the disk, unless a policy limits them, which is not looked at",
            )
        )
    if other:
        outcomes.append(
            warn(
                f"streams with other limits than SLUICE_RETENTION_…: {named(other)}",
                "nothing, if they were made when the settings were others; else limit them by a policy",
            )
        )
    return outcomes


def _of_queues(examined: Examined, rows: Mapping[str, QueueRow]) -> list[CheckOutcome]:
    names = {own_queue(one.slug) for one in examined.customers}
    names |= {queue for one in examined.customers for queue in one.routes.values()}
    found = [rows[name] for name in sorted(names & rows.keys())]
    wrong = [row.name for row in found if not _ours(row)]
    types = {row.type for row in found if _ours(row)}
    outcomes = []
    if wrong:
        outcomes.append(
            fail(
                f"queues that are not declared as Sluice declares them: {named(wrong)}",
                "delete them (`rabbitmqctl delete_queue`): workers declare them anew, lost doorbells are rung"
                " again",
            )
        )
    if len(types) > 1:
        outcomes.append(
            warn(
                "some of the customers' queues are classic and some quorum",
                "delete those that are not as SLUICE_TASK_QUEUE_TYPE says; workers cannot have them",
            )
        )
    return outcomes


def _ours(row: QueueRow) -> bool:
    plain = {key: value for key, value in row.arguments.items() if key != _TYPE}
    return row.durable and row.type in ("classic", "quorum") and not plain
