"""How long and how much, for the full run (under 10 minutes on 2 cores) and the quick one (under 4)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Times in seconds, counts of events; of spans of SDKs, 50 a batch, unless said otherwise."""

    floor_s: float  # of each floor
    empty_s: float  # of the empty handler
    backlog: int  # posted with reception alone, then worked off
    warm_s: float  # before anything is measured
    sustained_s: float
    latency_s: float  # at each of the two rates
    side_s: float  # sustained with another number of spans a batch
    idle_s: float  # nothing is posted
    customers: tuple[int, ...]
    customers_s: float  # at half of what one customer sustains
    arrow_s: float  # sustained with Arrow, 1,000 a batch
    other_events: int  # posted in each other format
    situation_s: float  # of the victim, and of the slow database
    collector_s: float
    peer_warm_s: float
    peer_s: float
    third_batches: int


FULL = Sizes(
    floor_s=0.6,
    empty_s=5.0,
    backlog=1_500_000,
    warm_s=3.0,
    sustained_s=10.0,
    latency_s=8.0,
    side_s=4.0,
    idle_s=2.0,
    customers=(10, 100, 1_000),
    customers_s=5.0,
    arrow_s=6.0,
    other_events=300_000,
    situation_s=8.0,
    collector_s=4.0,
    peer_warm_s=3.0,
    peer_s=4.0,
    third_batches=1_000,
)
QUICK = Sizes(
    floor_s=0.3,
    empty_s=1.5,
    backlog=150_000,
    warm_s=1.5,
    sustained_s=3.0,
    latency_s=3.0,
    side_s=2.0,
    idle_s=1.0,
    customers=(10, 100),
    customers_s=3.0,
    arrow_s=3.0,
    other_events=100_000,
    situation_s=4.0,
    collector_s=1.5,
    peer_warm_s=1.0,
    peer_s=2.0,
    third_batches=200,
)
