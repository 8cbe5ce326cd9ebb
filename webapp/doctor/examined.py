"""What `flask doctor` looks at: the installation that the environment names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, Engine

import db.customers.rows
from db.customers.rows import DELETING, Customer
from db.engine import look
from db.inspection import connect_to_look
from db.settings import DatabaseSettings
from streams import Broker, StreamSettings
from streams.management import Management
from streams.settings import RetentionSettings
from webapp.settings import HttpSettings

ANSWER_S = 10.0
"""Seconds for one answer of the broker or of its management plugin."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """Settings, and what they lead to; nothing is opened before it is asked for. Any thread may ask."""

    database: DatabaseSettings
    streams: StreamSettings
    http: HttpSettings
    retention: RetentionSettings
    broker: Broker

    @cached_property
    def engine(self) -> Engine:
        """Raises DatabaseMisconfigured."""
        return connect_to_look(self.database)

    @cached_property
    def everyone(self) -> list[Customer]:
        """All customers. Raises as `db.engine.look` does."""
        with self.looked() as connection:
            return db.customers.rows.everyone(connection)

    @property
    def customers(self) -> list[Customer]:
        """Those that should have streams: none that is being deleted. Raises as `db.engine.look` does."""
        return [one for one in self.everyone if one.state != DELETING]

    @cached_property
    def management(self) -> Management | None:
        """None when no setting says where the plugin is. Raises BrokerMisconfigured."""
        url = self.streams.management_url
        return Management(url, deadline_s=ANSWER_S) if url else None

    @contextmanager
    def looked(self) -> Iterator[Connection]:
        """A connection for statements that only read. Raises as `db.engine.look` does."""
        with look(self.engine) as connection:
            yield connection
