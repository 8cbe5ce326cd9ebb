"""Which release of RabbitMQ there is, and whether it lets us in by AMQP."""

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from kombu.exceptions import OperationalError

from streams.by_amqp import by_amqp
from streams.errors import BrokerMisconfigured, BrokerUnavailable

OLDEST = (3, 10)
"""What Debian 12 packages, and our tests run on."""


def amqp_release(broker_url: str, timeout_s: float) -> str:
    """The version that the broker names to whoever connects.

    Raises BrokerMisconfigured when it refuses user, password or virtual host, else BrokerUnavailable.
    """
    try:
        with by_amqp(broker_url, timeout_s) as connection:
            connection.connect()
            return str(connection.connection.server_properties.get("version", "unknown"))
    except (AccessRefused, NotAllowed) as error:
        raise BrokerMisconfigured("the broker refuses the user, password or virtual host") from error
    except (AMQPError, OperationalError, OSError) as error:
        raise BrokerUnavailable(f"connecting by AMQP: {error}") from error


def numbers(version: str) -> tuple[int, ...]:
    """`3.10.8` as (3, 10, 8), up to the first part that is no number."""
    found = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)
