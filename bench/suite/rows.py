"""The rows of a run, in the order that needs the fewest starts; what SDKs post comes first."""

from bench.load.workload import SDK, Kind
from bench.measuring.figures import Run
from bench.measuring.measure import Measurement
from bench.situations import neighbour, slow_database
from bench.suite import rivals
from bench.suite.laboratory import Laboratory
from bench.suite.ours import sized

ARROW = Kind()
OTHERS = {
    "arrow_1000": ARROW,
    "ndjson_1000": Kind(form="ndjson", encoding="gzip"),
    "otlp_1000": Kind(form="otlp", encoding="gzip"),
    "arrow_100": Kind(events=100),
    "sdk_50_plain": sized(50, encoding="none"),
    "sdk_50_json": sized(50, form="otlp-json"),
}
COLLECTED = (10, 50, 512)  # spans a batch
# Events that may wait while a peer is measured: enough for both worker processes and what they prefetch.
_PEERS = {"delay_per_event": 12_000, "bulk_confirm": 12_000}
_SLOWEST_PER_S = 20_000.0  # guessed when the row that would say it has failed
_LARGE, _SMALL, _ARROW = 2.1, 0.4, 4.0  # guesses, times the rate at 50 a batch


def measure_all(laboratory: Laboratory) -> None:
    """Fills `rows` and `failed`."""
    _of_sdks(laboratory)
    _of_others(laboratory)
    _of_situations(laboratory)
    _of_peers(laboratory)
    laboratory.close()


def _of_sdks(laboratory: Laboratory) -> None:
    row, ours, sizes = laboratory.row, laboratory.ours, laboratory.sizes
    row("reception", lambda: ours().receive(SDK))
    drain = row("drain", lambda: ours().work_off(SDK))
    guess = drain.events_per_s if drain else _SLOWEST_PER_S
    sustained = row("sdk_50", lambda: ours().sustain("sdk_50", SDK, guess, sizes.sustained_s))
    rate = sustained.events_per_s if sustained else 0.6 * guess
    for share in (50, 80):
        name = f"at_{share}_percent"
        at = share / 100 * rate
        row(name, lambda name=name, at=at: ours().pace(name, SDK, at, sizes.latency_s))  # type: ignore[misc]
    row("peak_memory", lambda: ours().sluice.peak_memory())
    row("idle_cores", lambda: ours().idle())
    for events, times in ((512, _LARGE), (10, _SMALL)):
        row(
            f"sdk_{events}",
            lambda events=events, times=times: ours().sustain(  # type: ignore[misc]
                f"sdk_{events}", sized(events), times * rate, sizes.side_s
            ),
        )
    for count in sizes.customers:
        row(
            f"customers_{count}",
            lambda count=count: ours().pace(  # type: ignore[misc]
                f"{count} customers", SDK, 0.5 * rate, sizes.customers_s, customers=count
            ),
        )


def _of_others(laboratory: Laboratory) -> None:
    row, ours, sizes = laboratory.row, laboratory.ours, laboratory.sizes
    # The streams of a thousand customers are read no longer.
    laboratory.clear()
    for name, kind in OTHERS.items():
        row(name, lambda name=name, kind=kind: ours().post(name, kind))  # type: ignore[misc]
    known = laboratory.rows.get("arrow_1000")
    guess = 1.7 * known["events_per_s"] if known else _ARROW * _SLOWEST_PER_S
    row("arrow_sustained", lambda: ours().sustain("arrow_sustained", ARROW, guess, sizes.arrow_s))


def _of_situations(laboratory: Laboratory) -> None:
    seconds = laboratory.sizes.situation_s
    laboratory.clear()
    laboratory.row("neighbour", lambda: neighbour.measure_for(laboratory.installed(), seconds, brief=True))
    laboratory.clear()
    laboratory.row("slow_database", lambda: slow_database.measure_for(laboratory.installed(), seconds))
    laboratory.clear()


def _of_peers(laboratory: Laboratory) -> None:
    row, servers, sizes = laboratory.row, laboratory.servers, laboratory.sizes
    for events in COLLECTED:
        row(
            f"rotel_{events}",
            lambda events=events: rivals.measure_collector(  # type: ignore[misc]
                servers, laboratory.generator, sized(events), sizes.collector_s
            ),
        )
    for module in _PEERS:
        row(module, lambda module=module: _celery_peer(laboratory, module))  # type: ignore[misc]
    row("dlt", lambda: rivals.measure_third(servers, sizes.third_batches))


def _celery_peer(laboratory: Laboratory, module: str) -> Run:
    sizes, load = laboratory.sizes, laboratory.generator
    with rivals.celery_peer(laboratory.servers, module) as peer:
        load.prepare(SDK, int(800 * (sizes.peer_warm_s + sizes.peer_s)))
        return Measurement(subject=peer, generator=load, name=module).steady(
            headroom=_PEERS[module], warm_s=sizes.peer_warm_s, seconds=sizes.peer_s
        )
