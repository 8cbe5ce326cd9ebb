"""What can go wrong with streams, named by the reaction that it calls for.

Exception
├── BrokerUnavailable      try later (retry_after_s); what a publish did is unknown
│   ├── Overloaded         our own bound on unconfirmed bytes is reached
│   ├── Refused            the broker said no (code)
│   ├── StreamMissing      there is no such stream
│   └── Leaderless         nobody leads this stream; all others may be well
├── BrokerMisconfigured    stop and say so (an environment.errors.Misconfigured)
├── ForeignProcess         a Broker was carried over a fork
ValueError
├── TooLarge               this message can never be published
└── UnfitMessage           these bytes are not what the stream should hold: keep the reason, never retry
LookupError
└── StreamEnds             the stream's last offset (end) is below the one asked for
"""

from environment.errors import Misconfigured


class BrokerUnavailable(Exception):
    """The broker can't be reached or did not answer in time; try again after `retry_after_s` seconds."""

    def __init__(self, detail: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Overloaded(BrokerUnavailable):
    """More bytes wait for their confirm than the settings allow, of one stream or in the `process`; nothing
    was sent.
    """

    def __init__(self, *, process: bool) -> None:
        whose = "process" if process else "stream"
        super().__init__(f"too many bytes of this {whose} wait for their confirm", retry_after_s=0.5)
        self.process = process


class Refused(BrokerUnavailable):
    """The broker answered with an error; `code` is the stream protocol's response code."""

    def __init__(self, detail: str, *, code: int, retry_after_s: float = 1.0) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)
        self.code = code


class StreamMissing(BrokerUnavailable):
    """The stream does not exist, or does not exist any more."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"stream {stream} does not exist (any more)", retry_after_s=5.0)
        self.stream = stream


class Leaderless(BrokerUnavailable):
    """The stream is there, and no node leads it at the moment; an election takes a second or two."""

    def __init__(self, stream: str) -> None:
        super().__init__(f"stream {stream} has no leader at the moment", retry_after_s=0.2)
        self.stream = stream


class BrokerMisconfigured(Misconfigured):
    """A setting or an existing stream contradicts what is asked; no retry will help."""


class ForeignProcess(RuntimeError):
    """A Broker is used in another process than the one that made it: make one after the fork."""


class TooLarge(ValueError):
    """The message does not fit into one frame of the broker."""


class UnfitMessage(ValueError):
    """The bytes are not a message of the kind that is expected in this stream."""


class StreamEnds(LookupError):
    """The stream holds no message at or above the asked one: its last offset is `end` (None: empty)."""

    def __init__(self, stream: str, end: int | None) -> None:
        super().__init__(f"stream {stream} ends at offset {end}")
        self.stream = stream
        self.end = end
