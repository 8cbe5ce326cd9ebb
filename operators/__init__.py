"""What a process shows its operators: metrics in shared memory, on an address of their own."""

from operators.lines import Lines
from operators.memory import Lane, Memory
from operators.names import OTHER, LabelNames
from operators.process import Listener
from operators.values import label_values, share

__all__ = ["OTHER", "LabelNames", "Lane", "Lines", "Listener", "Memory", "label_values", "share"]
