"""What opening a customer meets beside its own stream."""

import socket

import structlog
from celery import Celery
from sqlalchemy import Engine

from db.engine import connect
from db.settings import DatabaseSettings
from streams import Broker
from tasks.dispatcher.raw_streams.following import Following
from tasks.dispatcher.raw_streams.reconciling import Reconciler
from tests.integration.ledger_rows import add_customer, claim, record
from tests.whole import until

DEADLINE_S = 30.0


def test_a_database_that_is_away_while_a_customer_is_opened_is_not_that_customers_failure(
    engine: Engine, broker: Broker, slug: str
) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    record(engine, customer, epoch, 0, 0)
    with socket.socket() as nobody, structlog.testing.capture_logs() as logged:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        away = connect(DatabaseSettings(url=f"postgresql://nobody@127.0.0.1:{nobody.getsockname()[1]}/none"))
        following = Following(
            engine=engine,
            broker=broker,
            reconciler=Reconciler(engine=away, broker=broker, app=Celery(), deadline_s=DEADLINE_S),
            most_pending=1,
        )

        def tried(times: int) -> bool:
            following.open({customer.id: customer}, {customer.id: epoch})
            assert not list(following.opened({customer.id: customer}, {customer.id: epoch}))
            return len(logged) >= times

        until(lambda: tried(3), "the customer to be tried three times")
        following.close()
    assert {line["event"] for line in logged} == {"database_away"}
    assert {line["log_level"] for line in logged} == {"warning"}
