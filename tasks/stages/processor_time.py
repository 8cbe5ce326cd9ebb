"""The processor time that a window takes, which travels with it to its deposit."""

import time

import msgspec

from tasks.handover import Header


def now_us() -> int:
    """µs of processor time of this process so far, of all its threads: it works at one window at a time."""
    return time.process_time_ns() // 1000


def charged(header: Header, began_us: int, *, among: int = 1) -> Header:
    """The header with what was spent since `began_us` added to its processor time; its share of that when it
    was spent for so many windows.
    """
    spent_us = (now_us() - began_us) // among
    return msgspec.structs.replace(header, processor_us=header.processor_us + spent_us)
