"""How many examples a property is tried with."""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""`make fuzz` sets it."""


def examples(count: int) -> settings:
    """Try a property with `count` examples, the same in each run; with more and new ones in `make fuzz`."""
    return settings(
        max_examples=count * TIMES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
