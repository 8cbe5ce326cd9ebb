"""How much fits now, and when the rest will: a leaky bucket as plain arithmetic.

`spent` is what was let through and has not been worked off yet; it falls by `rate` a second. In any `t`
seconds at most `rate × t` plus the larger of one second's worth and the largest single cost is let through.
"""

BURST_S = 1.0
"""So many seconds' worth may come at once."""


def left(spent: float, rate: float, elapsed_s: float) -> float:
    """What is left of `spent` after `elapsed_s` seconds."""
    return max(0.0, spent - rate * max(0.0, elapsed_s))


def wait_s(spent: float, rate: float, cost: float) -> float:
    """Seconds until `cost` fits, 0 for now. What is larger than a full bucket fits into an empty one, and
    what comes after it waits the longer, so that nothing is refused for ever.
    """
    burst = rate * BURST_S
    return max(0.0, (spent + min(cost, burst) - burst) / rate)
