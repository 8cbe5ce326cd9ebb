"""What real agents do to otherwise tidy spans."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bench.spans.span_table import GeneratedSpans
from bench.spans.topology import Shop, Tree

HEALTH_CHECKS = ("/healthz", "GET /readyz", "/actuator/health")
_VARIANTS = 400  # ids that each path is seen with
_NEAR_ROWS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddities:
    """Shares between 0 and 1; the defaults are the recorded ones where there are any."""

    repeated_rows: float = 0.017  # of rows that come a second time, some thousand rows later
    out_of_order: float = 0.2  # of rows that come among later ones
    extra_roots: float = 0.0003  # of spans that lose their parent
    health_checks: float = 0.02  # of traces that are a single span of a health check
    ids_in_paths: float = 0.5  # of spans with a path that names one thing by its id
    secrets: float = 0.002  # of spans with a credential in an attribute


def with_health_checks(shop: Shop, share: float) -> Shop:
    """The shop with one more kind of trace for each health check; together they are `share` of the traces."""
    if not share:
        return shop
    first = len(shop.operations)
    probes = tuple(
        Tree(parent=np.array([-1]), depth=np.array([1]), service=np.array([1 + at]),
             operation=np.array([first + at]), self_us=np.array([900.0]))
        for at in range(len(HEALTH_CHECKS))
    )  # fmt: skip
    each = np.full(len(probes), share / len(probes))
    return replace(
        shop,
        operations=shop.operations + HEALTH_CHECKS,
        trees=shop.trees + probes,
        shares=np.concatenate([shop.shares * (1 - share), each]),
    )


def put_ids_into_paths(spans: GeneratedSpans, share: float, rng: np.random.Generator) -> None:
    """Give some spans of a path with `{id}` the id of one thing: a number, a UUID, a long hex word."""
    chosen = rng.random(len(spans.operation)) < share
    for code, name in enumerate(list(spans.operations)):
        rows = np.flatnonzero(chosen & (spans.operation == code)) if "{id}" in name else ()
        if len(rows):
            variants = min(_VARIANTS, len(rows))
            spans.operation[rows] = len(spans.operations) + rng.integers(variants, size=len(rows))
            spans.operations.extend(name.replace("{id}", _id(at, rng)) for at in range(variants))


def _id(at: int, rng: np.random.Generator) -> str:
    if at % 3 == 0:
        return str(int(rng.integers(1, 10**9)))
    word = rng.bytes(16).hex()
    return word if at % 3 == 1 else f"{word[:8]}-{word[8:12]}-{word[12:16]}-{word[16:20]}-{word[20:]}"


def cut_loose(spans: GeneratedSpans, share: float, rng: np.random.Generator) -> None:
    """Make some spans roots, so that their traces have several."""
    spans.parent[rng.random(len(spans.parent)) < share] = -1


def order(count: int, odd: Oddities, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`count` row numbers in the order in which agents send them, repeated rows among them."""
    copies = int(count * odd.repeated_rows)
    kept = np.arange(count - copies)
    place = kept.astype(np.float64)
    late = rng.random(len(kept)) < odd.out_of_order
    place[late] += rng.uniform(1, _NEAR_ROWS, int(late.sum()))
    again = rng.choice(len(kept), size=copies, replace=False) if copies else np.empty(0, dtype=np.int64)
    rows = np.concatenate([kept, again])
    return rows[np.argsort(np.concatenate([place, again + rng.uniform(0, 5_000, copies)]), kind="stable")]
