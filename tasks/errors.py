"""Errors of the stages, beside those of the broker (`streams.errors`) and the database (`db.errors`)."""


class WindowTooLarge(Exception):
    """What a window decodes or processes to passes a bound: split it and go on with the halves."""


class NotWhatWasBooked(Exception):
    """Other batches lie at the window's offsets than were recorded: the stream was cut or replaced.

    The dispatcher sees that too, and books what the window has lost; until then the window waits.
    """


class Tripped(Exception):
    """Too many batches failed for one reason: the breaker has to open, and nothing of this is written."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
