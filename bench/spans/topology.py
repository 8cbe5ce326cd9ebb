"""An invented shop of 28 services and the call trees that its requests make.

Sizes, depths and shares follow the statistics of a recorded application; names and trees are made up.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

SERVICES: tuple[str, ...] = (
    "gateway", "catalog", "search", "pricing", "stock", "cart", "checkout", "orders", "order-history",
    "payments", "wallet", "refunds", "invoices", "shipping", "tracking", "warehouse", "suppliers", "accounts",
    "sessions", "profiles", "addresses", "reviews", "vouchers", "recommendations", "notifications",
    "settings", "fraud", "captcha",
)  # fmt: skip
_VERBS = ("find", "list", "create")
#: (spans in the trace, share of traces in per mille, trees of this size): median 76, p99 200, largest 408.
TRACE_SIZES: tuple[tuple[int, float, int], ...] = (
    (6, 8, 1), (10, 30, 2), (12, 44, 2), (15, 86, 2), (20, 35, 2), (23, 30, 1), (30, 24, 1), (33, 68, 2),
    (39, 48, 2), (44, 56, 2), (47, 18, 1), (76, 340, 4), (109, 12, 1), (136, 95, 2), (152, 10, 1),
    (170, 32, 2), (181, 28, 1), (189, 22, 1), (200, 22, 1), (272, 2, 1), (330, 1, 1), (408, 1, 1),
)  # fmt: skip
DEEPEST = 16
_TREE_SEED = 20
_RANKS = np.arange(len(SERVICES))
_CALLS = np.where(_RANKS > 0, 1 / (_RANKS + 2), 0)
_POPULARITY = _CALLS / _CALLS.sum()  # of a service to be called
#: median self time in µs of a span by its layer, tuned so that whole spans have the recorded distribution
_SELF_US = {"root": 900.0, "handler": 700.0, "client": 1500.0, "route": 420.0, "method": 700.0,
            "repository": 100.0, "entity": 200.0, "table": 450.0}  # fmt: skip
_PACE = 1 + 0.8 * (_RANKS * 3 % 5)  # some services are slower than others


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One shape of a trace, spans in depth-first order; every array has one element a span."""

    parent: Ints  # position in the tree, -1 for the root
    depth: Ints  # 1 for the root
    service: Ints  # index in SERVICES
    operation: Ints  # index in Shop.operations
    self_us: npt.NDArray[np.float64]  # median time spent outside of children


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    operations: tuple[str, ...]
    trees: tuple[Tree, ...]
    shares: npt.NDArray[np.float64]  # of each tree, sum 1


class _TreeBuilder:
    """Grows one tree span by span; `operations` is the vocabulary that all trees share."""

    def __init__(self, operations: dict[str, int], rng: np.random.Generator) -> None:
        self.operations, self.rng = operations, rng
        self.parent: list[int] = []
        self.depth: list[int] = []
        self.service: list[int] = []
        self.operation: list[int] = []
        self.self_us: list[float] = []
        self.methods: list[int] = []

    def add(self, parent: int, service: int, layer: str, operation: str) -> int:
        self.parent.append(parent)
        self.depth.append(1 if parent < 0 else self.depth[parent] + 1)
        self.service.append(service)
        self.operation.append(self.operations.setdefault(operation, len(self.operations)))
        self.self_us.append(_SELF_US[layer] * _PACE[service])
        if layer == "method":
            self.methods.append(len(self.parent) - 1)
        return len(self.parent) - 1

    def call(self, parent: int, left: int) -> None:
        """A request to another service: client span, route, controller method; as many as are left."""
        caller = self.service[parent]
        callee = int(self.rng.choice(len(SERVICES), p=_POPULARITY))
        noun = SERVICES[callee].replace("-", "")
        verb = _VERBS[int(self.rng.integers(3 if callee < 12 else 2))]  # what is seldom called does less
        path = f"/api/v1/{noun}" + {"find": "/{id}", "list": "/all", "create": ""}[verb]
        at = self.add(parent, caller, "client", "HTTP POST" if verb == "create" else "HTTP GET")
        for layer, operation in (("route", path), ("method", f"{noun.title()}Controller.{verb}"))[: left - 1]:
            at = self.add(at, callee, layer, operation)

    def query(self, parent: int, left: int) -> None:
        """A look into the service's database: repository, entity, table; as many as are left."""
        noun = SERVICES[self.service[parent]].replace("-", "")
        steps = (("repository", f"{noun.title()}Repository.findById"), ("entity", f"SELECT {noun.title()}"),
                 ("table", f"SELECT shop.{noun}"))  # fmt: skip
        at = parent
        count = min(len(steps), left, DEEPEST - self.depth[parent])
        for layer, operation in steps[:count]:
            at = self.add(at, self.service[parent], layer, operation)
        self.self_us[at] = _SELF_US["table"] * _PACE[self.service[parent]]  # waits for the disk

    def grow(self, size: int) -> Tree:
        root = self.add(-1, 0, "root", "/*")
        handler = self.add(root, 0, "handler", "WebHandler.handle")
        self.call(handler, size - 2)
        while (left := size - len(self.parent)) > 0:
            at = self.methods[int(len(self.methods) * self.rng.random() ** 0.5)]  # rather a late one
            calls = left > 3 and self.depth[at] + 4 <= DEEPEST and self.rng.random() < 0.55
            (self.call if calls else self.query)(at, left)
        return self._depth_first()

    def _depth_first(self) -> Tree:
        children: dict[int, list[int]] = {}
        for at, parent in enumerate(self.parent):
            children.setdefault(parent, []).append(at)
        order: list[int] = []
        waiting = [0]
        while waiting:
            order.append(at := waiting.pop())
            waiting.extend(reversed(children.get(at, [])))
        place = {old: new for new, old in enumerate(order)} | {-1: -1}
        return Tree(
            parent=np.array([place[self.parent[at]] for at in order]),
            depth=np.array([self.depth[at] for at in order]),
            service=np.array([self.service[at] for at in order]),
            operation=np.array([self.operation[at] for at in order]),
            self_us=np.array([self.self_us[at] for at in order]),
        )


@cache
def shop() -> Shop:
    """The one shop: the same trees in every run and for every seed of the spans."""
    rng = np.random.default_rng(_TREE_SEED)
    operations: dict[str, int] = {}
    trees: list[Tree] = []
    shares: list[float] = []
    for size, per_mille, count in TRACE_SIZES:
        for _ in range(count):
            trees.append(_TreeBuilder(operations, rng).grow(size))
            shares.append(per_mille / count)
    total = np.array(shares)
    return Shop(operations=tuple(operations), trees=tuple(trees), shares=total / total.sum())
