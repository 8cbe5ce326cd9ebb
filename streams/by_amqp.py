"""Connections by AMQP 0.9.1, for what the stream protocol cannot do."""

from kombu.connection import Connection


def by_amqp(url: str, timeout_s: float) -> Connection:
    """One that connects at its first use and waits `timeout_s` for that, and for each answer; a `with` block
    releases it.
    """
    timeouts = {"read_timeout": timeout_s, "write_timeout": timeout_s}
    return Connection(url, connect_timeout=timeout_s, transport_options=timeouts)
