"""Servers of this suite's own, since they are killed too, and one installation for the tests of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import postgres as local_postgres, rabbitmq as local_rabbitmq
from tests.conftest import migrate
from tests.fault.installation import Installation, installed
from tests.fault.servers import Database, small_disk


@pytest.fixture(scope="module")
def node(server_folder: Path) -> Iterator[local_rabbitmq.RabbitNode]:
    """A broker to kill."""
    node = local_rabbitmq.start(server_folder / "fault-rabbitmq")
    yield node
    local_rabbitmq.stop(node.folder)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Database]:
    """A migrated database on a small disk of its own, once SQLite and once a PostgreSQL server to kill."""
    folder = server_folder / "fault-database"
    with small_disk(folder) as bounded:
        if request.param == "sqlite":
            url, server = f"sqlite:///{folder / 'sluice.db'}", None
        else:
            server = folder / "postgres"
            url = local_postgres.start(server, fsync=False).url
        migrate(url)
        yield Database(url=url, folder=folder, server=server, bounded=bounded)
        if server is not None:
            local_postgres.remove(server)


@pytest.fixture(scope="module")
def installation(
    node: local_rabbitmq.RabbitNode, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("installation")
    with installed(
        folder, database_url=database.url, amqp_url=node.amqp_url, stream_url=node.stream_url
    ) as found:
        yield found
