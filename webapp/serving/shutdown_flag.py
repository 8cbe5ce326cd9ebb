"""The word that the process group is about to stop, shared by gunicorn's master and its workers."""

import mmap


class ShutdownFlag:
    """A flag in memory that forks share: what one process begins, all that were forked from its maker see."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 1)

    def begin(self) -> None:
        """Say that no new work should be sent here."""
        self._page[0] = 1

    def follow(self, other: "ShutdownFlag") -> None:
        """Be the same flag as `other` from now on."""
        self._page = other._page

    @property
    def begun(self) -> bool:
        """Whether the shutdown has begun."""
        return self._page[0] == 1
