"""What a process tells who watches over it: systemd, and the probes of this host."""

from supervision.answers import MOST_WAIT, Answerer, Missing, Unanswered, address, ask
from supervision.notices import Supervised

__all__ = ["MOST_WAIT", "Answerer", "Missing", "Supervised", "Unanswered", "address", "ask"]
