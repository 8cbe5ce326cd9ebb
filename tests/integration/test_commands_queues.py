"""`flask queues …`: what routes left behind is found and removed, and nothing else is."""

from collections.abc import Iterator

import pytest
from kombu import Connection, Queue

from deploy.local.rabbitmq import RabbitNode
from tests.commands import flask, flask_json
from tests.receiver import Home
from webapp.terminal.exits import Exit


@pytest.fixture
def connection(rabbitmq: RabbitNode) -> Iterator[Connection]:
    with Connection(rabbitmq.amqp_url) as connection:
        yield connection


def left(home: Home, slug: str, name: str) -> str:
    """A queue that a route led to before."""
    for words in ([name], []):
        assert flask(home, "customers", "route", slug, "decode", *words).exit_code == Exit.OK
    return name


def declare(connection: Connection, name: str, **options: object) -> Queue:
    queue: Queue = Queue(name, **options).bind(connection.channel())
    queue.queue_declare()
    return queue


def listed(home: Home, name: str) -> bool:
    return name in [one["queue"] for one in flask_json(home, "queues", "list")["queues"]]


def test_a_queue_that_a_route_left_is_listed_and_removed(
    home: Home, connection: Connection, slug: str
) -> None:
    home.add(slug)
    name = left(home, slug, f"{slug}-fast")
    assert not listed(home, name), "the broker has none"
    assert flask(home, "queues", "remove", name).exit_code == Exit.NOT_FOUND
    declare(connection, name)
    assert listed(home, name)
    asked = flask_json(home, "customers", "show", slug)["rings_asked"]
    assert flask(home, "queues", "remove", name).exit_code == Exit.OK
    assert flask_json(home, "customers", "show", slug)["rings_asked"] == asked + 1, (
        "what waited there is owed"
    )
    assert not listed(home, name)


def test_a_customers_own_queue_is_left_when_all_its_stages_go_elsewhere(
    home: Home, connection: Connection, slug: str
) -> None:
    home.add(slug)
    own = declare(connection, f"customer-{slug}", queue_arguments={"x-queue-type": "quorum"}).name
    for stage in ("decode", "process", "deposit"):
        assert not listed(home, own)
        assert flask(home, "queues", "remove", own).exit_code == Exit.REFUSED
        flask(home, "customers", "route", slug, stage, f"{slug}-all")
    assert listed(home, own)
    assert flask(home, "queues", "remove", own).exit_code == Exit.OK


def test_what_is_used_or_never_was_ours_is_not_removed(home: Home, connection: Connection, slug: str) -> None:
    home.add(slug)
    home.add(f"{slug}-b")
    name = left(home, slug, f"{slug}-fast")
    flask(home, "customers", "route", f"{slug}-b", "deposit", name)
    others = declare(connection, f"others-{slug}").name
    declare(connection, name)
    for each in (name, others, f"raw.{slug}", f"processed.{slug}", "shared"):
        assert not listed(home, each)
        assert flask(home, "queues", "remove", each).exit_code == Exit.REFUSED
    for each in (name, others):
        declare(connection, each).delete()


@pytest.mark.parametrize(
    "arguments",
    [{"x-queue-type": "stream"}, {"x-max-length": 7}, {"x-queue-type": "quorum", "x-max-length": 7}],
)
def test_another_programs_queue_under_a_left_name_stays(
    home: Home, connection: Connection, slug: str, arguments: dict[str, object]
) -> None:
    home.add(slug)
    name = left(home, slug, f"{slug}-fast")
    theirs = declare(connection, name, queue_arguments=arguments)
    assert flask(home, "queues", "remove", name).exit_code == Exit.MISCONFIGURED
    assert listed(home, name)
    theirs.delete()


def test_a_left_queue_that_is_consumed_stays(home: Home, connection: Connection, slug: str) -> None:
    home.add(slug)
    queue = declare(connection, left(home, slug, f"{slug}-fast"))
    queue.consume("worker-of-an-operator")
    said = flask(home, "queues", "remove", queue.name)
    assert (said.exit_code, "consumed" in said.stderr) == (Exit.MISCONFIGURED, True)
    queue.cancel("worker-of-an-operator")
    assert flask(home, "queues", "remove", queue.name).exit_code == Exit.OK
