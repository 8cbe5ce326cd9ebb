"""What can go wrong in this room, named by the reaction it calls for.

ReceiverUnavailable     try later; the answer is 503 with Retry-After
"""


class ReceiverUnavailable(Exception):
    """Something this process needs is away; nothing was accepted."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
