"""What can go wrong in this room, named by the reaction it calls for.

ReceiverMisconfigured   stop and say what to do
ReceiverUnavailable     try later; the answer is 503 with Retry-After
"""


class ReceiverMisconfigured(Exception):
    """The process cannot work as it was set up; the message says what to change."""


class ReceiverUnavailable(Exception):
    """Something this process needs is away; nothing was accepted."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
