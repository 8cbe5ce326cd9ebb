"""What a process shows its operators: metrics in shared memory, on an address of their own."""

from operators.lines import Lines
from operators.memory import Lane, Memory
from operators.process import Listener
from operators.values import share

__all__ = ["Lane", "Lines", "Listener", "Memory", "share"]
