"""What Prometheus' rules are tried with: scenes in which no alert fires, and those in which one does."""

from tests.unit.alert_scenes import (
    BROKER,
    DAY_S,
    DISPATCHER,
    LAST,
    NORMAL,
    RECEIVER,
    WORKER,
    Scene,
    buckets,
    growing,
    late,
    steady,
)


def _owed(slug: str, seconds: float, expiry_s: float = 6 * DAY_S) -> dict[str, str | None]:
    labels = f'customer="{slug}",{DISPATCHER}'
    return {
        f"sluice_oldest_owed_seconds{{{labels}}}": steady(seconds),
        f"sluice_owed_expiry_seconds{{{labels}}}": steady(expiry_s),
    }


def _measured(name: str, value: float | str, /, **labels: str) -> dict[str, str | None]:
    """A gauge of the dispatcher, or a series with its values."""
    shown = "".join(f'{label}="{text}",' for label, text in labels.items())
    return {f"sluice_{name}{{{shown}{DISPATCHER}}}": value if isinstance(value, str) else steady(value)}


def _worked(name: str, values: str, /, **labels: str) -> dict[str, str | None]:
    """A counter of the worker."""
    shown = "".join(f'{label}="{text}",' for label, text in labels.items())
    return {f"sluice_{name}{{{shown}{WORKER}}}": values}


def _stopped(a_minute: float, minutes: int) -> str:
    """A counter that stood still for the last minutes."""
    return f"0+{a_minute:g}x{LAST - minutes} {a_minute * (LAST - minutes):g}x{minutes - 1}"


PAUSED = {f'sluice_customer_state{{customer="acme",state="paused",{DISPATCHER}}}': steady(1)}
THROTTLED = _measured("throttle_events_per_second", 50, customer="acme")

SILENT: dict[str, Scene] = {
    "normal": Scene(series={}),
    "no traffic": Scene(series={series: None for series in NORMAL if "sluice_http_" in series}),
    "a few refusals within the budget": Scene(
        series={f'sluice_http_refusals_total{{problem="unavailable",{RECEIVER}}}': growing(6)}
    ),
    "a paused customer": Scene(series={**PAUSED, **_owed("acme", DAY_S)}),
    "a customer that is throttled for a moment": Scene(series={**THROTTLED, **_owed("acme", 600)}),
    "a busy stream that holds an hour": Scene(series=_owed("acme", 1, expiry_s=3600)),
    "nothing is owed and nothing comes": Scene(
        series={series: None for series in NORMAL if "_deposit" in series or "sluice_http_" in series}
        | {f'sluice_owed_batches{{customer="{slug}",{DISPATCHER}}}': steady(0) for slug in ("acme", "blue")}
    ),
    "each customer has a worker of its own": Scene(series=_measured("worker_processes", 0, queue="shared")),
    "a short outage of the broker": Scene(
        series=_measured("dispatch_waits_total", f"0x{LAST - 3} 20 40 50", reason="BrokerUnavailable")
    ),
    "no PostgreSQL and no RabbitMQ is looked at": Scene(
        series={series: None for series in NORMAL if "rabbitmq" in series or "partitions" in series}
    ),
    "refusals that are the agents' fault": Scene(
        series={f'sluice_http_refusals_total{{problem="body-too-large",{RECEIVER}}}': growing(6000)}
    ),
}

FIRING: dict[str, Scene] = {
    "nothing is accepted for the last ten minutes": Scene(
        series={
            f'sluice_http_batches_total{{customer="{slug}",outcome="accepted",{RECEIVER}}}': (
                f"0+{rate}x{LAST - 10} {rate * (LAST - 10)}x9"
            )
            for slug, rate in (("acme", 6000), ("blue", 600))
        }
        | {f'sluice_http_refusals_total{{problem="unavailable",{RECEIVER}}}': f"0x{LAST - 10} 6000+6000x9"},
        alerts={"SluiceAcceptanceBudgetBurnsFast": {"severity": "critical"}},
    ),
    "two of a thousand batches are not accepted": Scene(
        series={f'sluice_http_refusals_total{{problem="internal",{RECEIVER}}}': growing(13)},
        alerts={"SluiceAcceptanceBudgetBurnsSlowly": {}},
    ),
    "the broker confirms slowly": Scene(
        series={
            f'sluice_http_confirm_seconds_bucket{{le="{le}",{RECEIVER}}}': growing(share)
            for le, share in (("0.01", 0), ("0.1", 10), ("0.5", 1000), ("1.0", 6600), ("+Inf", 6600))
        },
        alerts={"SluiceConfirmsSlow": {}},
    ),
    "half of a customer's batches get 429": Scene(
        series={
            f'sluice_http_limited_total{{customer="acme",limit="bytes_per_second",{RECEIVER}}}': growing(6000)
        },
        alerts={"SluiceCustomerLimited": {"customer": "acme"}},
    ),
    "all of a customer's batches get 429": Scene(
        series={
            f'sluice_http_limited_total{{customer="full",limit="bytes_per_day",{RECEIVER}}}': growing(60)
        },
        alerts={"SluiceCustomerLimited": {"customer": "full"}},
    ),
    "a fleet of agents has an old key": Scene(
        series={f'sluice_http_refusals_total{{problem="unauthenticated",{RECEIVER}}}': growing(1200)},
        alerts={"SluiceKeysRefused": {}},
    ),
    "a worker does not answer": Scene(
        series={'up{job="sluice-worker",instance="z:9466"}': steady(0)},
        alerts={"SluiceProcessDown": {"job": "sluice-worker", "instance": "z:9466"}},
    ),
    "the only dispatcher does not answer": Scene(
        series={f"up{{{DISPATCHER}}}": steady(0)},
        alerts={
            "SluiceProcessDown": {"job": "sluice-dispatcher"},
            "SluiceProcessesGone": {"job": "sluice-dispatcher"},
        },
    ),
    "nobody scrapes workers": Scene(
        series={f"up{{{WORKER}}}": None}, alerts={"SluiceProcessesGone": {"job": "sluice-worker"}}
    ),
    "the worker's loop stands still": Scene(
        series={f"sluice_beat_timestamp_seconds{{{WORKER}}}": f"0+60x{LAST - 9} {60 * (LAST - 9)}x8"},
        alerts={"SluiceLoopStuck": {"job": "sluice-worker"}},
    ),
    "the dispatcher's loop is late": Scene(
        series={
            **buckets(
                "sluice_loop_delay_seconds", DISPATCHER, {"0.01": 100, "1.0": 500, "2.5": 600, "+Inf": 600}
            )
        },
        alerts={"SluiceLoopLate": {"job": "sluice-dispatcher"}},
    ),
    "a worker is silent": Scene(
        series=_measured("peer_beat_age_seconds", 40, process="worker", name="w@b"),
        alerts={"SluicePeerSilent": {"process": "worker", "name": "w@b"}},
    ),
    "connections are lost again and again": Scene(
        series=_worked("reconnects_total", growing(2), to="streams"),
        alerts={"SluiceReconnectsOften": {"job": "sluice-worker", "to": "streams"}},
    ),
    "a worker waits for the database": Scene(
        series={
            **buckets(
                "sluice_database_wait_seconds", WORKER, {"0.01": 100, "1.0": 500, "2.5": 600, "+Inf": 600}
            )
        },
        alerts={"SluiceDatabaseWaits": {"job": "sluice-worker"}},
    ),
    "the database is away": Scene(
        series=_measured("dispatch_waits_total", late(60, LAST - 8), reason="DatabaseUnavailable"),
        alerts={"SluiceDispatchWaits": {"reason": "DatabaseUnavailable"}},
    ),
    "deposits fail": Scene(
        series=_worked("task_failures_total", growing(30), task="deposit", error="OperationalError"),
        alerts={"SluiceTasksFail": {"task": "deposit", "error": "OperationalError"}},
    ),
    "a process dies for the first time": Scene(
        series=_worked("deaths_total", f"_x{LAST - 4} 1x3", cause="time_limit"),
        alerts={"SluiceDeaths": {"cause": "time_limit"}},
    ),
    "processes die again": Scene(
        series=_worked("deaths_total", f"3x{LAST - 4} 4 4 5", cause="worker_died"),
        alerts={"SluiceDeaths": {"cause": "worker_died"}},
    ),
    "nothing is measured any more": Scene(
        series=_measured("measured_timestamp_seconds", f"0+60x{LAST - 10} {60 * (LAST - 10)}x9"),
        alerts={"SluiceNotMeasured": {}},
    ),
    "no dispatcher measures": Scene(
        series={
            series: None
            for series in NORMAL
            if series.startswith(("sluice_measured_", "sluice_oldest_", "sluice_owed_", "sluice_books_"))
        },
        alerts={"SluiceNotMeasured": {}},
    ),
    "a fifth of the windows is late": Scene(
        series={**buckets("sluice_deposit_lag_seconds", WORKER, {"1.0": 700, "5.0": 800, "+Inf": 1000})},
        alerts={"SluiceFreshnessBudgetBurnsFast": {}, "SluiceFreshnessBudgetBurnsSlowly": {}},
    ),
    "two of a hundred windows are late": Scene(
        series={**buckets("sluice_deposit_lag_seconds", WORKER, {"1.0": 970, "5.0": 980, "+Inf": 1000})},
        alerts={"SluiceFreshnessBudgetBurnsSlowly": {}},
    ),
    "workers hang": Scene(
        series={
            f'sluice_deposits_total{{customer="{slug}",{WORKER}}}': _stopped(rate, 12)
            for slug, rate in (("acme", 60), ("blue", 6))
        },
        alerts={"SluiceNothingDeposited": {}},
    ),
    "no worker has ever deposited": Scene(
        series={series: None for series in NORMAL if "sluice_deposit" in series},
        alerts={"SluiceNothingDeposited": {}},
    ),
    "one customer is behind": Scene(
        series=_owed("acme", 400), alerts={"SluiceOwedTooLong": {"customer": "acme"}}
    ),
    "a throttle holds a customer back": Scene(
        series={**THROTTLED, **_owed("acme", 1200)}, alerts={"SluiceThrottledForLong": {"customer": "acme"}}
    ),
    "a customer is paused for six days": Scene(
        series={**PAUSED, **_owed("acme", 6.2 * DAY_S, expiry_s=0.8 * DAY_S)},
        alerts={"SluiceOwedExpiresWithinADay": {"customer": "acme"}},
    ),
    "a paused customer's batches are about to go": Scene(
        series={**PAUSED, **_owed("acme", 6.9 * DAY_S, expiry_s=0.1 * DAY_S)},
        alerts={
            "SluiceOwedExpiresWithinADay": {"customer": "acme"},
            "SluiceOwedExpiresWithinHours": {"customer": "acme"},
        },
    ),
    "batches expired, a first time": Scene(
        series=_measured("expired_batches_total", f"_x{LAST - 9} 12x8", customer="late"),
        alerts={"SluiceBatchesExpired": {"customer": "late"}},
    ),
    "books differ": Scene(
        series=_measured("books_differences", f"0x{LAST - 1} 1", customer="blue"),
        alerts={"SluiceBooksDiffer": {"customer": "blue", "severity": "critical"}},
    ),
    "books are too large to check": Scene(
        series=_measured("books_unchecked_customers", 1), alerts={"SluiceBooksUnchecked": {}}
    ),
    "a breaker is open": Scene(
        series={**_measured("breaker_open", 1, customer="acme"), **_owed("acme", 3600)},
        alerts={"SluiceBreakerOpen": {"customer": "acme"}},
    ),
    "a quarantine is nearly full": Scene(
        series=_measured("quarantine_day_bytes", 220e6, customer="acme"),
        alerts={"SluiceQuarantineBudgetNearlyUsed": {"customer": "acme"}},
    ),
    "a quarantine is full": Scene(
        series=_measured("quarantine_withheld_rows", 4, customer="blue"),
        alerts={"SluiceQuarantineWithheld": {"customer": "blue"}},
    ),
    "a tenth of the events is rejected": Scene(
        series=_worked("rejected_events_total", growing(60_000), customer="acme", reason="bad_time"),
        alerts={"SluiceMuchQuarantined": {"customer": "acme"}},
    ),
    "a tenth of the batches is unfit": Scene(
        series=_worked("quarantined_batches_total", growing(60), customer="blue", reason="not_utf8"),
        alerts={"SluiceMuchQuarantined": {"customer": "blue"}},
    ),
    "windows are rung again and again": Scene(
        series=_measured("windows_rung_again_total", growing(2), customer="acme"),
        alerts={"SluiceWindowsRungAgain": {"customer": "acme"}},
    ),
    "windows of a new dispatcher are rung again": Scene(
        series=_measured("windows_rung_again_total", f"_x{LAST - 9} 30x8", customer="late"),
        alerts={"SluiceWindowsRungAgain": {"customer": "late"}},
    ),
    "a queue refuses": Scene(
        series=_measured("queues_refused_total", f"3x{LAST - 3} 4 5", customer="acme"),
        alerts={"SluiceQueueRefused": {"customer": "acme"}},
    ),
    "no worker is there": Scene(
        series={**_measured("worker_processes", 0, queue="shared"), **_owed("acme", 60)},
        alerts={"SluiceQueueUnserved": {"queue": "shared"}},
    ),
    "workers are too few": Scene(
        series=_measured("workers_wanted", 6, queue="shared"),
        alerts={"SluiceTooFewWorkers": {"queue": "shared"}},
    ),
    "partitions are not made": Scene(
        series=_measured("partitions_ahead_seconds", 2 * DAY_S, table="rollups"),
        alerts={"SluicePartitionsMissing": {"table": "rollups"}},
    ),
    "PostgreSQL keeps its WAL": Scene(
        series=_measured("database_wal_bytes", 20e9), alerts={"SluiceWalLarge": {}}
    ),
    "the broker has an alarm": Scene(
        series={f"rabbitmq_alarms_free_disk_space_watermark{{{BROKER}}}": steady(1)},
        alerts={"SluiceBrokerAlarm": {"instance": "b:15692"}},
    ),
    "the broker's disk fills": Scene(
        series={f"rabbitmq_disk_space_available_bytes{{{BROKER}}}": f"100e9-0.5e9x{LAST}"},
        alerts={"SluiceBrokerDiskFills": {"instance": "b:15692"}},
    ),
}
