"""What counted against quotas and the caps of public keys is forgotten, used again or not."""

from sqlalchemy import Engine, Table, select

from db import tables
from db.clock import now_us, today
from db.customers import public_key_use, public_keys, quota_use
from db.customers.public_key_use import KeyUse
from db.customers.public_keys import KeyRules
from db.engine import begin, read
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import add_customer


def days(engine: Engine, table: Table, of: int) -> list[int]:
    query = select(table.c.day).where(table.c.customer_id == of).order_by(table.c.day)
    with read(engine) as conn:
        return list(conn.execute(query).scalars())


def test_days_that_are_long_over_go_though_nobody_sends_any_more(engine: Engine, slug: str) -> None:
    idle, busy = (add_customer(engine, f"{slug}-{letter}").id for letter in "ab")
    with begin(engine) as conn:
        day = today(conn)
        for of in (idle, busy):
            public_keys.issue(conn, of, KeyRules(apps=("app",)))
            [key] = public_keys.live(conn, of)
            for ago in (0, 7, 8, 31, 32, 400) if of == busy else (32, 40):
                quota_use.write(conn, "receiver", day - ago, {of: 1})
                public_key_use.write(conn, "receiver", day - ago, {key.id: KeyUse(1, 1, 1)})
    prune(engine, DatabaseSettings(), now_us(engine))
    assert (days(engine, tables.usage, idle), days(engine, tables.public_key_use, idle)) == ([], [])
    assert days(engine, tables.usage, busy) == [day - 7, day]
    assert days(engine, tables.public_key_use, busy) == [day - 31, day - 8, day - 7, day]
