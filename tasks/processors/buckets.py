"""The histogram of durations: buckets that grow by a tenth, so that any percentile is at most 5 % off.

The same idea as the logarithmic mapping of DDSketch (https://arxiv.org/abs/1908.10693) with gamma = 1.1.
"""

import numpy as np
from numpy.typing import NDArray

GROWTH = 1.1
LAST = 459  # the first bucket that holds every int64
# Upper ends, floor(1.1^i) in exact integers, so that no rounding of a logarithm moves a duration.
ENDS: NDArray[np.int64] = np.array([min(11**i // 10**i, 2**63 - 1) for i in range(LAST + 1)], dtype=np.int64)


def buckets(durations_us: NDArray[np.int64]) -> NDArray[np.int16]:
    """Of each duration ≥ 0 its bucket: the smallest i ≥ 0 with duration ≤ 1.1^i."""
    logarithms = np.log(np.maximum(durations_us, 1)) / np.log(GROWTH)
    guess: NDArray[np.int16] = np.ceil(logarithms).astype(np.int16)
    np.minimum(guess, LAST, out=guess)
    guess += durations_us > ENDS[guess]
    guess -= (guess > 0) & (durations_us <= ENDS[guess - 1])
    # ENDS begins 1, 1, 1, ...: whatever rounding said about one microsecond, it is in bucket 0.
    guess[durations_us <= 1] = 0
    return guess


def value(bucket: int) -> float:
    """The duration in µs that stands for a bucket, within 4.8 % of every duration > 0 that it holds."""
    return 2 * GROWTH**bucket / (GROWTH + 1)
