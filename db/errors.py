"""What can go wrong with the database, named by the reaction it calls for.

DatabaseUnavailable     try later
DatabaseMisconfigured   stop and say so (an environment.errors.Misconfigured)
Lost                    somebody else won; let go of the work, nothing was written
  LostLease             ... the customer's dispatch lease or cursor has moved on
  LostRace              ... the window or the deposit cursor has moved on
  LostName              ... another worker that is alive has this one's name
NoCustomer (LookupError) there is no such customer, or not any more
Refusal (ValueError)    the caller asked for what the rules forbid
  BadSlug, SlugTaken, TooManyKeys
"""

from environment.errors import Misconfigured


class DatabaseUnavailable(Exception):
    """The database is away, locked, full or too slow; the same call may work after `retry_after_s` seconds.

    The outcome of a transaction whose commit raised this is unknown: every write starts with a
    compare-and-set, so repeating it is safe.
    """

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DatabaseMisconfigured(Misconfigured):
    """The database is there but cannot be used as it is; the message says what to do."""


class Lost(Exception):
    """A compare-and-set found that another process was first; the transaction has to be rolled back."""


class LostLease(Lost):
    """The dispatch row has another epoch or cursor than the caller believed."""


class LostRace(Lost):
    """The window or the deposit cursor is no longer where the caller believed it to be."""


class LostName(Lost):
    """Another worker beats in the row of this name."""


class NoCustomer(LookupError):
    """Nobody has this id: the customer was deleted."""


class Refusal(ValueError):
    """The request breaks a rule of the ledger; repeating it cannot help."""


class BadSlug(Refusal):
    """A slug that is not 1 to 40 of a-z, 0-9 and inner hyphens."""


class SlugTaken(Refusal):
    """A customer of that slug exists."""


class TooManyKeys(Refusal):
    """Two keys are live already; rotate instead."""
