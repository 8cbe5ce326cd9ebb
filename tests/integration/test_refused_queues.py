"""A queue that the broker refuses stops its own customer; a worker that lost its queues has them again."""

from functools import partial
from pathlib import Path

import pytest
from kombu import Connection, Queue
from sqlalchemy import Engine, create_engine

import db.customers.rows
from bench.installation.leaderless import evaluate
from db.engine import begin
from deploy.local.rabbitmq import RabbitNode
from streams import Broker
from tests.integration.test_dispatch_isolation import events_by_slug, publish
from tests.integration.test_lost_channels import CLOSE_CHANNELS
from tests.whole import Whole, running, until

pytestmark = pytest.mark.timeout(600)
CUSTOMERS = 8
QUEUES = 50  # the same worker consumes; of the others nothing comes
DEADLINE_S = 30.0


def deposited(engine: Engine, slugs: list[str], events: int) -> bool:
    found = events_by_slug(engine)
    return all(found.get(slug, 0) == events for slug in slugs)


def refused(whole: Whole, slug: str, by: str = "worker") -> bool:
    return any("queue_refused" in line and slug in line for line in whole.log(by).splitlines())


def asked(rabbitmq: RabbitNode, method: str) -> bool:
    """Whether there was a channel with all queues, in whose name the broker was asked."""
    return "[ok]" in evaluate(rabbitmq, ASK_IN_ITS_NAME % method)


def told(whole: Whole, said: str) -> bool:
    return said in whole.log("worker")


def test_refused_queues_and_lost_channels_stop_nobody_else(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, broker: Broker, slug: str
) -> None:
    urls = {"database_url": sqlite_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    # A doorbell that goes with its queue, or comes while there is none, is rung again after this.
    settings = {"SLUICE_TASK_STALE_AFTER_S": "3"}
    engine = create_engine(sqlite_url)
    slugs = [f"{slug}-{number}" for number in range(CUSTOMERS)]
    other, locked, lone, *others = slugs
    with Connection(rabbitmq.amqp_url) as connection, running(tmp_path, **urls, **settings) as whole:
        with begin(engine) as ledger:
            for number in range(CUSTOMERS, QUEUES):
                db.customers.rows.add(ledger, f"{slug}-{number}")
        for each in others:
            whole.add_customer(each)
        publish(broker, others)
        until(partial(deposited, engine, others, 1), "the first batches")
        channel = connection.channel()
        # 406: with other arguments; 405: locked by this connection; 403: consumed by this channel alone.
        Queue(f"customer-{other}", queue_arguments={"x-max-length": 7}).bind(channel).queue_declare()
        Queue(f"customer-{locked}", durable=False, exclusive=True).bind(channel).queue_declare()
        alone = Queue(f"customer-{lone}", durable=True).bind(channel)
        alone.queue_declare()
        channel.basic_consume(alone.name, exclusive=True, consumer_tag="alone")
        for each in (other, locked, lone):
            whole.add_customer(each)
        for each in (other, locked, lone):
            until(partial(refused, whole, each), f"{each}: its queue to be refused")
        publish(broker, others)
        until(partial(deposited, engine, others, 2), "the others' batches beside three refused queues")
        # 404: the queue is gone while it is consumed.
        channel.queue_delete(f"customer-{others[0]}")
        publish(broker, others)
        until(partial(deposited, engine, others, 3), "everybody's, and that whose queue was deleted")
        evaluate(rabbitmq, CLOSE_CHANNELS)
        publish(broker, others)
        until(partial(deposited, engine, others, 4), "the batches after an operator closed all channels")
        evaluate(rabbitmq, CLOSE_CONNECTIONS)
        publish(broker, others)
        until(partial(deposited, engine, others, 5), "the batches after an operator closed all connections")
        for events, (code, method, said) in enumerate(REFUSALS, 6):
            until(partial(asked, rabbitmq, method), f"a worker that consumes its queues, for {code}")
            until(partial(told, whole, said), f"the worker to be told {code}")
            publish(broker, others)
            until(partial(deposited, engine, others, events), f"the batches after {code}")
    with Connection(rabbitmq.amqp_url) as connection, connection.channel() as channel:
        channel.queue_delete(f"customer-{other}")


def test_a_queue_that_takes_no_doorbells_stops_its_own_customer_only(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, broker: Broker, slug: str
) -> None:
    urls = {"database_url": sqlite_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    engine = create_engine(sqlite_url)
    full, locked, *others = slugs = [f"{slug}-{number}" for number in range(CUSTOMERS)]
    policy = {"policy": slug, "queue": f"customer-{full}"}
    # A window that shares its doorbell with others' goes to the queue of all shared workers, which takes it.
    settings = {"SLUICE_TASK_STALE_AFTER_S": "1", "SLUICE_TASK_GROUP_WINDOWS": "1"}
    with running(tmp_path, **urls, **settings) as whole:
        with Connection(rabbitmq.amqp_url) as connection:
            Queue(f"customer-{locked}", durable=False, exclusive=True).bind(connection).queue_declare()
            evaluate(rabbitmq, REJECT_ALL % policy)
            for each in slugs:
                whole.add_customer(each)
            for batches in range(1, 4):
                publish(broker, slugs)
                until(partial(deposited, engine, others, batches), f"the others' batches, round {batches}")
            for each in (full, locked):
                until(partial(refused, whole, each, "dispatcher"), f"{each}: its doorbell to be refused")
            evaluate(rabbitmq, REJECT_NONE % policy)
        until(partial(deposited, engine, slugs, 3), "the batches whose doorbells were refused")
        said = whole.log("dispatcher")
    assert "dispatch_waited" not in said
    assert said.count("customer_taken") == CUSTOMERS, "no feed was dropped"


REJECT_ALL = (
    'rabbit_policy:parse_set(<<"/">>, <<"%(policy)s">>, <<"^%(queue)s$">>,'
    ' <<"{\\"max-length\\": 0, \\"overflow\\": \\"reject-publish\\"}">>, 0, <<"queues">>, <<"test">>).'
)
REJECT_NONE = 'rabbit_policy:delete(<<"/">>, <<"%(policy)s">>, <<"test">>).'
# A connection or a channel may have ended since it was listed: asking it is an exit then.
CLOSE_CONNECTIONS = (
    '[catch rabbit_networking:close_connection(Pid, "closed by an operator")'
    " || Pid <- rabbit_networking:connections()], ok."
)
# What a client says by mistake on the channel of all queues, and how the broker answers: the last one closes
# the connection.
REFUSALS = (
    (406, "{'basic.ack', 4711, false}", "unknown delivery tag 4711"),
    (
        404,
        "{'basic.consume', 0, <<\"nobodys\">>, <<>>, false, false, false, false, []}",
        "no queue 'nobodys'",
    ),
    (
        403,
        "{'queue.declare', 0, <<\"amq.ours\">>, false, true, false, false, false, []}",
        "queue name 'amq.ours'",
    ),
    (504, "{'channel.open', <<>>}", "second 'channel.open'"),
)
ASK_IN_ITS_NAME = (
    "[rabbit_channel_common:do(Pid, %s) || Pid <- rabbit_channel:list(),"
    " case catch rabbit_channel:info(Pid, [consumer_count]) of"
    " [{consumer_count, Count}] -> Count > 5; _ -> false end]."
)
