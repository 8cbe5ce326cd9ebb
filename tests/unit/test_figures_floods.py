"""Figures of `docs/floods.md` are those of the JSON in `bench/results/`.

Each section is given as pieces of its text. A number of the section that is in none of them fails as well.
"""

from typing import Any

import pytest

from tests.unit.figures import Section, result

PAGE = "docs/floods.md"
MIB = 1024 * 1024

MANY, SLOW, NEIGHBOUR, CROWD = (result(name) for name in ("many", "slow-database", "neighbour", "crowd"))
VERIFY, BODIES, BROKEN = (result(name) for name in ("verify", "slow-bodies", "broken-streams"))


def seconds(ms: float, digits: int = 1) -> str:
    return f"{ms / 1000:.{digits}f} s"


def kept(run: Any, place: int) -> str:
    return "kept" if run.verdicts[place].holds else "not kept"


def p50_p99(ack_ms: Any) -> str:
    return f"{ack_ms.p50:.1f} ms, {ack_ms.p99:.1f} ms"


def three(ms: Any) -> str:
    return f"{ms.p50:,.0f}, {ms.p99:,.0f}, {ms.p999:,.0f} ms"


def machine(run: Any) -> str:
    return f"RabbitMQ {run.versions.rabbitmq} and PostgreSQL {run.versions.postgresql.partition('.')[0]}"


def each(run: Any) -> str:
    """At the end of a heading."""
    return f", {run.seconds_each:.0f} s each"


def loads() -> list[str]:
    """The table of commands."""
    victim = NEIGHBOUR.victim
    return [
        f"A victim posts {victim.batches_per_s} batches/s of 100 events",
        f"| {CROWD.crowd:,} idle keep-alive connections beside {CROWD.batches_per_s} batches/s of 100 events",
        f"| {BODIES.crowd:,} connections with a key send their bodies slowly, and {BODIES.crowd:,}"
        f" connections without a key never send their bodies,"
        f" beside {BODIES.batches_per_s} batches/s of 100 events",
        f"| {MANY.customers:,} customers on one dispatcher and one worker. {MANY.active} of them are active",
        f"| {BROKEN.customers - 2} customers post {BROKEN.batches_per_s} batches/s of 100 events in total",
        f"checks {VERIFY.batches:,} batches of one event",
        f"| {SLOW.batches_per_s} batches/s of 100 events, with {SLOW.added_ms:.0f} ms added to each answer",
    ]


def many() -> list[str]:
    lag, restart = MANY.lag_ms, MANY.broker_restart
    memory = {role: f"{size / MIB:.0f}" for role, size in MANY.peak_memory.items()}
    return [
        f", {lag.batches / MANY.batches_per_s:.0f} s",
        f"| lag of {lag.batches:,} batches, p50 and p99.9 | {seconds(lag.p50)}, {seconds(lag.p999)} |",
        f"| from the start of all processes until batches of {MANY.active} customers are committed"
        f" | {MANY.start_s:.1f} s |",
        f"| from the broker's restart (it is up after {restart.up_s:.1f} s) until batches of {MANY.active}"
        f" customers are committed | {restart.at_work_s:.1f} s |",
        f"| adding {MANY.customers:,} customers, four at a time | {MANY.added_s:.0f} s |",
        f"dispatcher {memory['dispatcher']}, worker's parent process {memory['celery parent']},"
        f" its child process {memory['prefork child']}, receiver's worker process"
        f" {memory['receiver worker']}, broker {memory['broker']},"
        f" database backend {memory['database backend']} |",
    ]


def slow_database() -> list[str]:
    quiet, slow = SLOW.quiet, SLOW.slow
    return [
        each(SLOW),
        f"| {SLOW.added_ms:.0f} ms added to each answer |",
        f"With {SLOW.added_ms:.0f} ms added to each",
        f"| refused batches | {quiet.refused} | {slow.refused} |",
        f"| acknowledgement p50, p99 | {p50_p99(quiet.ack_ms)} | {p50_p99(slow.ack_ms)} |",
        f"| batches a window | {quiet.windows.batches_each:.0f} | {slow.windows.batches_each:.0f} |",
        f"| windows rung again | {quiet.rung_again} | {slow.rung_again} |",
        f"| lag p50, p99.9 | {seconds(quiet.lag_ms.p50, 2)}, {seconds(quiet.lag_ms.p999, 2)}"
        f" | {seconds(slow.lag_ms.p50)}, {seconds(slow.lag_ms.p999)} |",
    ]


def neighbour() -> list[str]:
    quiet, beside, flood = NEIGHBOUR.victim.quiet, NEIGHBOUR.victim.beside, NEIGHBOUR.neighbour
    total = "accepted_to_committed"
    used = {role: f"{cores:.2f}" for role, cores in NEIGHBOUR.cores_used.items()}
    load = used["neighbour's load"]
    first_try = [f"{one.accepted_first_time:,} of {one.posted:,}" for one in (quiet, beside)]
    parts = {
        f"| … p99.9 from {name}": [f"{one.way[part].p999:.0f} ms" for one in (quiet, beside)]
        for name, part in (
            ("accepted until the window is recorded", "accepted_to_recorded"),
            ("there until the window is committed", "recorded_to_committed"),
        )
    }
    return [
        each(NEIGHBOUR),
        f"accepted at the first try | {' | '.join(first_try)} | all: **{kept(NEIGHBOUR, 2)}** |",
        f"acknowledgement p50, p99 | {quiet.ack_ms.p50:.0f}, {quiet.ack_ms.p99:.0f} ms"
        f" | {beside.ack_ms.p50:.0f}, {beside.ack_ms.p99:.0f} ms |",
        f"from accepted to committed | {three(quiet.way[total])} | {three(beside.way[total])}"
        f" | p99.9 under 1 s: **{kept(NEIGHBOUR, 1)}** |",
        f"as a multiple of the p99.9 alone | | {beside.way[total].p999 / quiet.way[total].p999:.2f}"
        f" | 1.5: **{kept(NEIGHBOUR, 0)}** |",
        *(f"{name} | {' | '.join(found)} | |" for name, found in parts.items()),
        f"It offered {flood.offered_events_per_s / 1e6:.1f} million events a second."
        f" That is {NEIGHBOUR.offered_times:.0f} times"
        f" the {NEIGHBOUR.machine_takes_events_per_s:,.0f} events a second",
        f"nginx let {round(flood.accepted_events_per_s, -3):,.0f} events a second of it through",
        f"{flood.refused:,} requests were refused",
        f"over {flood.connections} connections",
        f"Cores used: workers {used['workers']}, broker {used['broker']}, nginx {used['nginx']}, the"
        f" neighbour's load {load}, receivers {used['receiver']},"
        f" database {used['database']}, dispatcher {used['dispatcher']}.",
    ]


def crowd() -> list[str]:
    nginx, alone = CROWD.nginx, CROWD.receiver
    times, alone_times = (f"{one.beside_ack_ms.p99 / one.quiet_ack_ms.p99:.2f}" for one in (nginx, alone))
    acknowledged = "acknowledgement p50, p99"
    return [
        each(CROWD),
        f"| {CROWD.batches_per_s} batches/s of 100 events |",
        f"| beside {CROWD.crowd:,} idle connections |",
        f"| through nginx: {acknowledged} | {p50_p99(nginx.quiet_ack_ms)} | {p50_p99(nginx.beside_ack_ms)}"
        f" | p99 within 2 times: **{times}**, {kept(CROWD, 0)} |",
        f"at the end | 0 | {nginx.refused}; {nginx.still_open:,} | none; all: **{kept(CROWD, 1)}** |",
        f"| {nginx.bytes_per_connection:.0f} bytes more",
        f"| gunicorn alone: {acknowledged} | {p50_p99(alone.quiet_ack_ms)} | {p50_p99(alone.beside_ack_ms)}"
        f" | no promise; found {alone_times} times |",
        f"at the end | 0 | {alone.refused}; {alone.still_open:,} | |",
        f"| {alone.bytes_per_connection:,.0f} bytes |",
    ]


def broken_streams() -> list[str]:
    runs = [BROKEN.accepted_to_committed_ms[when] for when in ("quiet", "beside", "new dispatcher")]
    kept_times = [
        f"{one.p50:.0f} ms: {one.p50 / runs[0].p50:.2f} times, **{kept(BROKEN, place)}**"
        for place, one in enumerate(runs[1:])
    ]
    return [
        each(BROKEN),
        f"{BROKEN.customers - 2} customers post {BROKEN.batches_per_s} batches/s of 100 events in total",
        f"p50 (promised: 1.2 times at most) | {runs[0].p50:.0f} ms | {' | '.join(kept_times)} |",
        f"| p99 | {' | '.join(f'{one.p99:.0f} ms' for one in runs)} |",
        f"| p99.9 | {' | '.join(f'{one.p999:.0f} ms' for one in runs)} |",
        f"The machine had {BROKEN.machine.cores} cores, {machine(BROKEN)}",
    ]


SECTIONS = [
    Section(
        page=PAGE,
        heading="# Floods and crowds",
        measured=loads(),
        stated=[
            "offers 50 times what the machine can process",
            "with 1 batch/s of 100 events each",
            "with 2 whenever",
        ],
    ),
    Section(
        page=PAGE,
        heading="## Measured",
        measured=[
            f"All runs used {NEIGHBOUR.machine.cores} cores,"
            f" {NEIGHBOUR.machine.memory_bytes / 2**30:.1f} GiB,"
            f" {machine(NEIGHBOUR).replace(' and', ',')}, and Arrow with zstd at 100 events a batch",
        ],
    ),
    Section(
        page=PAGE,
        heading="### Many customers",
        measured=many(),
        stated=["| 30 s |", "s | 60 s |", "for 200 customers a round", "every 4 s", "up to 30 s", "now 2 s"],
    ),
    Section(page=PAGE, heading="### A slow database", measured=slow_database()),
    Section(
        page=PAGE,
        heading="### A noisy neighbour",
        measured=neighbour(),
        stated=["batches of 2,000 events", "aims at 50 times"],
        elsewhere=[
            "3.3 s in 10 s",
            "8.4 s",
            "runs of 15 s",
            "from 785 to 469 ms",
            "Niceness 14",
            "to 460 ms",
        ],
    ),
    Section(page=PAGE, heading="### An idle crowd", measured=crowd()),
    Section(
        page=PAGE,
        heading="### Proving a stream",
        measured=[
            f"checked {VERIFY.batches:,} batches of one event",
            f"on {machine(VERIFY)}",
            f"It checked {VERIFY.batches_per_s:,.0f} batches a second",
            f"It took {VERIFY.verify_s:.1f} s, plus {VERIFY.start_s:.1f} s for the command",
        ],
        stated=["(promised: 20,000)"],
    ),
    Section(
        page=PAGE,
        heading="### Slow bodies",
        measured=[
            each(BODIES),
            f"Agents post {BODIES.batches_per_s} batches/s of 100 events",
            f"two crowds: {BODIES.crowd:,} connections whose bodies arrive slowly,"
            f" and {BODIES.crowd:,} connections without a key",
            f"({BODIES.strangers_refused:,} refusals in all)",
            f"The machine had {BODIES.machine.cores} cores, {machine(BODIES)}",
            f"(promised: none) | 0 | {BODIES.refused}: **{kept(BODIES, 0)}** |",
            f"p50, p99, p99.9 | {three(BODIES.quiet_ack_ms)} | {three(BODIES.beside_ack_ms)} |",
        ],
    ),
    Section(
        page=PAGE,
        heading="### Streams that can't be read",
        measured=broken_streams(),
        elsewhere=["0.6 of a core", "is 90 ms instead of 9 ms", "was 1.5 to 2.3 s"],
    ),
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.heading)
def test_a_section_states_the_figures_of_its_result(section: Section) -> None:
    assert section.missing() == [], f"{section.page} differs from bench/results"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.heading)
def test_a_section_states_no_other_figures(section: Section) -> None:
    assert section.unchecked() == []
