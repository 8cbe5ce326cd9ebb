"""Scenes for Prometheus' rules: a normal installation, and one for each fault that an alert is about.

Values are in promtool's notation, a sample a minute: `0+60x9` is 0, 60, 120 and so on, nine steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAST = 120  # minutes of a scene
SCENE_S = 60 * LAST


def steady(value: float) -> str:
    """A gauge."""
    return f"{value:g}x{LAST}"


def growing(a_minute: float) -> str:
    """A counter."""
    return f"0+{a_minute:g}x{LAST}"


def late(a_minute: float, start: int) -> str:
    """A counter whose series appears after so many minutes, with its first increment."""
    return f"_x{start} {a_minute:g}+{a_minute:g}x{LAST - start}"


RECEIVER = 'job="sluice-receiver",instance="a:8001"'

NORMAL: dict[str, str] = {
    f'sluice_http_batches_total{{customer="acme",outcome="accepted",{RECEIVER}}}': growing(6000),
    f'sluice_http_batches_total{{customer="blue",outcome="accepted",{RECEIVER}}}': growing(600),
    f'sluice_http_refusals_total{{problem="unavailable",{RECEIVER}}}': growing(1),
    f'sluice_http_refusals_total{{problem="unauthenticated",{RECEIVER}}}': growing(6),
    f'sluice_http_limited_total{{customer="acme",limit="bytes_per_second",{RECEIVER}}}': growing(60),
    **{
        f'sluice_http_{what}_seconds_bucket{{le="{le}",{RECEIVER}}}': growing(6600 * share)
        for what in ("confirm", "accept")
        for le, share in (("0.01", 0.9), ("0.1", 1), ("0.5", 1), ("1.0", 1), ("+Inf", 1))
    },
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


SILENT: dict[str, Scene] = {
    "normal": Scene(series={}),
    "no traffic": Scene(series={series: None for series in NORMAL if "sluice_http_" in series}),
    "a few refusals within the budget": Scene(
        series={f'sluice_http_refusals_total{{problem="unavailable",{RECEIVER}}}': growing(6)}
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
}
