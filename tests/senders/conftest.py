"""One installation for all senders of a session, and the two customers whose keys they have."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests import receiver
from tests.live import Live
from tests.senders.sending import LIMITED, OPEN, Customers
from tests.whole import Whole

# A sender that is refused comes again after a second.
SOON = {"SLUICE_HTTP_RETRY_AFTER_MAX_S": "1"}


@pytest.fixture(scope="session")
def customers(
    rabbitmq: RabbitNode, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Customers]:
    folder = tmp_path_factory.mktemp("senders")
    database = folder / "sluice.db"
    database.write_bytes(sqlite_template.read_bytes())
    with receiver.home(f"sqlite:///{database}", rabbitmq) as home:
        keys = {slug: home.add(slug) for slug in (OPEN, LIMITED)}
        public_keys = {slug: home.add_public_key(slug, origins=("*",)) for slug in keys}
        home.limit(LIMITED, batches_per_second=1)
        environment = receiver.bare_environment() | dict(home.environment) | SOON
        whole = Whole(folder=folder, environment=environment)
        try:
            whole.start_all()
            yield Customers(live=Live(whole=whole, home=home), keys=keys, public_keys=public_keys)
        finally:
            whole.stop()
