"""Scenes for Prometheus' rules: a normal installation, and one for each fault that an alert is about.

Values are in promtool's notation, a sample a minute: `0+60x9` is 0, 60, 120 and so on, nine steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAST = 65  # minutes of a scene: the longest `for` is half an hour, the longest range that counts an hour


def steady(value: float) -> str:
    """A gauge."""
    return f"{value:g}x{LAST}"


def growing(a_minute: float) -> str:
    """A counter."""
    return f"0+{a_minute:g}x{LAST}"


def late(a_minute: float, start: int) -> str:
    """A counter whose series appears after so many minutes, with its first increment."""
    return f"_x{start} {a_minute:g}+{a_minute:g}x{LAST - start}"


RECEIVER = 'job="sluice-receiver",instance="a:9464"'
DISPATCHER = 'job="sluice-dispatcher",instance="a:9465"'
WORKER = 'job="sluice-worker",instance="a:9466"'
BROKER = 'job="sluice-rabbitmq",instance="b:15692"'
DAY_S = 86_400
NOW = f"0+60x{LAST}"  # a time that was just taken: scenes begin at 0


def buckets(metric: str, job: str, counts: Mapping[str, float]) -> dict[str, str]:
    """A histogram of so many more observations a minute, by bound."""
    return {f'{metric}_bucket{{le="{bound}",{job}}}': growing(count) for bound, count in counts.items()}


def _of_customer(slug: str, batches: float) -> dict[str, str]:
    labels = f'customer="{slug}"'
    return {
        f"sluice_oldest_owed_seconds{{{labels},{DISPATCHER}}}": steady(0.4),
        f"sluice_owed_batches{{{labels},{DISPATCHER}}}": steady(20),
        f"sluice_owed_expiry_seconds{{{labels},{DISPATCHER}}}": steady(7 * DAY_S),
        f"sluice_breaker_open{{{labels},{DISPATCHER}}}": steady(0),
        f'sluice_customer_state{{{labels},state="active",{DISPATCHER}}}': steady(1),
        f"sluice_books_differences{{{labels},{DISPATCHER}}}": steady(0),
        f"sluice_quarantine_day_bytes{{{labels},{DISPATCHER}}}": steady(1e6),
        f"sluice_quarantine_budget_bytes{{{labels},{DISPATCHER}}}": steady(256e6),
        f"sluice_quarantine_withheld_rows{{{labels},{DISPATCHER}}}": steady(0),
        f"sluice_windows_rung_again_total{{{labels},{DISPATCHER}}}": growing(0.1),
        f"sluice_expired_batches_total{{{labels},{DISPATCHER}}}": steady(7),  # long ago
        f"sluice_queues_refused_total{{{labels},{DISPATCHER}}}": steady(3),
        f"sluice_deposits_total{{{labels},{WORKER}}}": growing(batches / 100),
        f"sluice_deposited_batches_total{{{labels},{WORKER}}}": growing(batches),
        f"sluice_deposited_events_total{{{labels},{WORKER}}}": growing(batches * 100),
        f'sluice_rejected_events_total{{{labels},reason="bad_time",{WORKER}}}': growing(batches),
        f'sluice_quarantined_batches_total{{{labels},reason="not_utf8",{WORKER}}}': growing(batches / 100),
    }


_PROCESSES: dict[str, str] = {
    **{f"up{{{job}}}": steady(1) for job in (RECEIVER, DISPATCHER, WORKER, BROKER)},
    **{f"sluice_beat_timestamp_seconds{{{job}}}": NOW for job in (DISPATCHER, WORKER)},
    **{
        series: values
        for job in (DISPATCHER, WORKER)
        for name in ("sluice_loop_delay_seconds", "sluice_database_wait_seconds")
        for series, values in buckets(name, job, {"0.01": 500, "1.0": 600, "+Inf": 600}).items()
    },
    f'sluice_reconnects_total{{to="streams",{WORKER}}}': growing(0.01),
    f'sluice_dispatch_waits_total{{reason="BrokerUnavailable",{DISPATCHER}}}': steady(40),
    f'sluice_task_failures_total{{task="decode",error="BrokerUnavailable",{WORKER}}}': growing(1),
    f'sluice_deaths_total{{cause="worker_died",{WORKER}}}': steady(3),
    f"sluice_measured_timestamp_seconds{{{DISPATCHER}}}": NOW,
    f"sluice_books_checked_timestamp_seconds{{{DISPATCHER}}}": NOW,
    f"sluice_books_unchecked_customers{{{DISPATCHER}}}": steady(0),
    f'sluice_peer_beat_age_seconds{{process="worker",name="w@a",{DISPATCHER}}}': steady(3),
    f'sluice_worker_processes{{queue="shared",{DISPATCHER}}}': steady(4),
    f'sluice_workers_wanted{{queue="shared",{DISPATCHER}}}': steady(2),
    f'sluice_partitions_ahead_seconds{{table="events",{DISPATCHER}}}': steady(20 * DAY_S),
    f"sluice_database_wal_bytes{{{DISPATCHER}}}": steady(1e9),
    # No customer of the normal scene has a throttle; a series of another one keeps the rules honest.
    f'sluice_throttle_events_per_second{{customer="slow",{DISPATCHER}}}': steady(100),
    f"rabbitmq_alarms_free_disk_space_watermark{{{BROKER}}}": steady(0),
    f"rabbitmq_alarms_memory_used_watermark{{{BROKER}}}": steady(0),
    f"rabbitmq_disk_space_available_bytes{{{BROKER}}}": steady(100e9),
    f"rabbitmq_disk_space_available_limit_bytes{{{BROKER}}}": steady(2e9),
}

NORMAL: dict[str, str] = {
    f'sluice_http_batches_total{{customer="acme",outcome="accepted",{RECEIVER}}}': growing(6000),
    f'sluice_http_batches_total{{customer="blue",outcome="accepted",{RECEIVER}}}': growing(600),
    f'sluice_http_refusals_total{{problem="unavailable",{RECEIVER}}}': growing(1),
    f'sluice_http_refusals_total{{problem="unauthenticated",{RECEIVER}}}': growing(6),
    f'sluice_http_limited_total{{customer="acme",limit="bytes_per_second",{RECEIVER}}}': growing(60),
    **buckets("sluice_http_confirm_seconds", RECEIVER, {"0.01": 6000, "0.5": 6600, "+Inf": 6600}),
    **buckets("sluice_http_accept_seconds", RECEIVER, {"0.01": 6000, "0.5": 6600, "+Inf": 6600}),
    **buckets("sluice_deposit_lag_seconds", WORKER, {"1.0": 999, "5.0": 1000, "+Inf": 1000}),
    **_of_customer("acme", 6000),
    **_of_customer("blue", 600),
    **_PROCESSES,
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What differs from a normal installation, and which alerts fire then.

    `series` replaces or adds; a value of None takes a series away. `alerts` are the firing ones at the end,
    each with the labels that must be among its own.
    """

    series: Mapping[str, str | None]
    alerts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def test(self, name: str) -> dict[str, Any]:
        """The scene as one of promtool's tests."""
        values = {
            series: values for series, values in {**NORMAL, **self.series}.items() if values is not None
        }
        every = {label: "" for labels in self.alerts.values() for label in labels}
        by = ", ".join(["alertname", *sorted(every)])
        return {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in values.items()],
            "promql_expr_test": [
                {
                    "expr": f'count by ({by}) (ALERTS{{alertstate="firing"}}) > bool 0',
                    "eval_time": f"{LAST}m",
                    "exp_samples": [
                        {"labels": _shown({"alertname": alert, **labels}), "value": 1}
                        for alert, labels in self.alerts.items()
                    ],
                }
            ],
        }


def _shown(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
