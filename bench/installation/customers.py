"""Adds many customers at once, each as `flask customers add` does.

`python -m bench.installation.customers SLUG…` is the command.

Prints their keys as JSON. A process for each would cost a second of start a customer.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

from db.engine import connect
from db.settings import DatabaseSettings
from streams import Broker, StreamSettings
from webapp.settings import retention_settings
from webapp.terminal.new_customer import create

AT_ONCE = 4


def main(slugs: list[str]) -> None:
    engine, broker = connect(DatabaseSettings()), Broker(StreamSettings())
    try:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            made = threads.map(lambda slug: create(engine, broker, retention_settings(), slug), slugs)
            keys = {slug: added.key for slug, added in zip(slugs, made, strict=True)}
    finally:
        broker.close()
        engine.dispose()
    print(json.dumps(keys))


if __name__ == "__main__":
    main(sys.argv[1:])
