"""File descriptors: each connection is one."""

import resource

OTHERS = 256
"""Broker, database, logs, listeners, and what a library opens for a moment."""


def make_room(connections: int) -> None:
    """Raise this process's own bound to what so many connections take, as far as its hard limit lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
