"""What is wrong with a process's environment, and the exit codes that say so to whoever supervises it."""

UNAVAILABLE = 5
"""A server is away; the same may work later."""
MISCONFIGURED = 6
"""A setting has to be changed first: starting the process again changes nothing."""


class Misconfigured(Exception):
    """The process cannot work as it is set up. The message is one sentence that says what to change, and
    holds no part of a password.
    """
