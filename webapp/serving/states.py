"""What a connection waits for."""

from enum import Enum, auto


class State(Enum):
    """What a connection waits for."""

    NEW = auto()
    """That it is made: TLS may have to be agreed on before."""
    HEAD = auto()
    KEY = auto()
    """The look-up of the request's key."""
    BODY = auto()
    ANSWER = auto()
    LAST = auto()
    """The agent's end, after the last answer: what is not read resets the connection (RFC 9112, 9.6)."""
    CLOSED = auto()
