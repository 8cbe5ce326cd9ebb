"""How long and how much, for the full run (under 10 minutes on 2 cores) and the quick one (under 2)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Times in seconds, counts of events unless said otherwise."""

    floor_s: float  # of each floor
    empty_s: float  # of the empty handler
    backlog: int  # posted with reception alone, then worked off
    sustained_warm_s: float
    sustained_s: float
    paced_warm_s: float
    latency_s: float  # at each of the two rates
    idle_s: float  # nothing is posted
    one_worker_s: float  # 0: left out
    customers: tuple[int, ...]
    customers_full_s: float  # at full speed; 0: left out
    customers_paced_s: float  # at an equal rate
    side_kinds: tuple[tuple[str, str, int], ...]  # format, encoding, events a batch
    side_events: int  # of each
    sqlite_s: float  # 0: left out
    peer_warm_s: float
    peer_s: float
    third_batches: int


FULL = Sizes(
    floor_s=2.0,
    empty_s=5.0,
    backlog=10_000_000,
    sustained_warm_s=5.0,
    sustained_s=60.0,
    paced_warm_s=4.0,
    latency_s=20.0,
    idle_s=5.0,
    one_worker_s=10.0,
    customers=(10, 100),
    customers_full_s=8.0,
    customers_paced_s=8.0,
    side_kinds=(
        ("arrow", "zstd", 1_000),
        ("ndjson", "gzip", 1_000),
        ("otlp", "gzip", 1_000),
        ("arrow", "zstd", 100),
        ("arrow", "zstd", 5_000),
    ),
    side_events=300_000,
    sqlite_s=8.0,
    peer_warm_s=3.0,
    peer_s=8.0,
    third_batches=400,
)
QUICK = Sizes(
    floor_s=0.3,
    empty_s=1.5,
    backlog=600_000,
    sustained_warm_s=1.5,
    sustained_s=6.0,
    paced_warm_s=1.5,
    latency_s=3.0,
    idle_s=2.0,
    one_worker_s=0.0,
    customers=(10,),
    customers_full_s=0.0,
    customers_paced_s=3.0,
    side_kinds=(
        ("arrow", "zstd", 1_000),
        ("ndjson", "gzip", 1_000),
        ("otlp", "gzip", 1_000),
        ("arrow", "zstd", 100),
    ),
    side_events=60_000,
    sqlite_s=0.0,
    peer_warm_s=1.0,
    peer_s=2.0,
    third_batches=60,
)
