"""A receiver to share: one per test file, on a database and with customers of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import rabbitmq as local_rabbitmq
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings
from tasks.worker import transport
from tests import receiver as receivers
from tests.receiver import Home, Receiver

transport.use()  # before the first connection: kombu remembers what `amqp://` meant then


@pytest.fixture(scope="module")
def home(
    rabbitmq: RabbitNode, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    path = tmp_path_factory.mktemp("home") / "sluice.db"
    shutil.copyfile(sqlite_template, path)
    with receivers.home(f"sqlite:///{path}", rabbitmq) as home:
        yield home


@pytest.fixture(scope="module")
def receiver(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receivers.running(tmp_path_factory.mktemp("receiver"), home.environment) as receiver:
        yield receiver


@pytest.fixture
def broker(rabbitmq: RabbitNode) -> Iterator[Broker]:
    """A client of the broker that the tests share."""
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    yield broker
    broker.close()


@pytest.fixture
def mortal_node(tmp_path: Path) -> Iterator[RabbitNode]:
    """A broker of the test's own, to be frozen and stopped."""
    folder = tmp_path / "rabbitmq"
    yield local_rabbitmq.start(folder, name="mortal")
    local_rabbitmq.stop(folder)
