"""Errors of the stages, beside those of the broker (`streams.errors`) and the database (`db.errors`)."""


class WindowTooLarge(Exception):
    """What a window decodes or processes to passes a bound: cut it in two and go on with the halves."""


class Tripped(Exception):
    """Too many batches failed for one reason: the breaker has to open, and nothing of this is written."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
