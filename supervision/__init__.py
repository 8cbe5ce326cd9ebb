"""What a process tells who watches over it: systemd, and the probes of this host."""

from supervision.answers import MOST_WAIT, Answerer, Missing, Unanswered, address, ask
from supervision.log_lines import JsonLines, formatter, log_uncaught
from supervision.notices import Supervised

__all__ = [
    "MOST_WAIT",
    "Answerer",
    "JsonLines",
    "Missing",
    "Supervised",
    "Unanswered",
    "address",
    "ask",
    "formatter",
    "log_uncaught",
]
