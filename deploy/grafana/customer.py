"""The dashboard of one customer: how far behind, what it sends, what it costs, what holds it up."""

from deploy.grafana.panels import Dashboard, DashboardPanel, PanelQuery, PanelRow, Unit

ONE = '{customer="$customer"}'


def _stat(
    title: str, meaning: str, expr: str, unit: Unit = "short", *, often_empty: bool = False, **steps: float
) -> DashboardPanel:
    return DashboardPanel(
        title=title,
        meaning=meaning,
        kind="stat",
        width=4,
        unit=unit,
        warn=steps.get("warn"),
        alarm=steps.get("alarm"),
        queries=[PanelQuery(expr=expr, often_empty=often_empty)],
    )


NOW = PanelRow(
    title="$customer now",
    panels=[
        _stat(
            "Oldest owed",
            "Age of the oldest batch that is accepted and not deposited.",
            f"customer:sluice_oldest_owed_seconds:max{ONE}",
            "s",
            warn=60,
            alarm=300,
        ),
        _stat(
            "Expires in",
            "When retention removes the oldest batch that is owed. Empty when nothing is owed.",
            f"customer:sluice_owed_expiry_seconds:min{ONE}",
            "s",
            often_empty=True,
        ),
        _stat(
            "Breaker",
            "1: open. Nothing is deposited until an operator resumes the customer.",
            f"max(sluice_breaker_open{ONE})",
            alarm=1,
        ),
        _stat(
            "Differences in the books",
            "Equations of the books that do not hold.",
            f"max(sluice_books_differences{ONE})",
            alarm=1,
        ),
        _stat(
            "Throttle",
            "Events a second that are dispatched at most. Empty without a throttle.",
            f"max(sluice_throttle_events_per_second{ONE})",
            often_empty=True,
        ),
        _stat(
            "Quota of today",
            "Share of the bytes of the day that is used up. Empty without a quota.",
            f"max(sluice_http_quota_used_bytes{ONE})"
            ' / (max(sluice_http_limit{customer="$customer",limit="daily_bytes"}) > 0)',
            "percentunit",
            often_empty=True,
            warn=0.8,
            alarm=1,
        ),
    ],
)
BEHIND = PanelRow(
    title="How far behind",
    panels=[
        DashboardPanel(
            title="Oldest owed",
            meaning="Age of the oldest batch that is accepted and not deposited.",
            unit="s",
            queries=[PanelQuery(expr=f"customer:sluice_oldest_owed_seconds:max{ONE}", legend="oldest owed")],
        ),
        DashboardPanel(
            title="Batches owed",
            meaning="Accepted and not deposited.",
            queries=[PanelQuery(expr=f"customer:sluice_owed_batches:max{ONE}", legend="batches")],
        ),
        DashboardPanel(
            title="Bytes",
            meaning="Owed, and what the raw stream holds. Estimated.",
            unit="bytes",
            queries=[
                PanelQuery(expr=f"max(sluice_owed_bytes{ONE})", legend="owed"),
                PanelQuery(expr=f"max(sluice_stream_bytes{ONE})", legend="raw stream"),
            ],
        ),
        DashboardPanel(
            title="Windows",
            meaning="In flight, and rung again in 5 minutes.",
            queries=[
                PanelQuery(expr=f"max(sluice_windows_in_flight{ONE})", legend="in flight"),
                PanelQuery(
                    expr=f"sum(increase(sluice_windows_rung_again_total{ONE}[5m]))",
                    legend="rung again",
                    often_empty=True,
                ),
            ],
        ),
        DashboardPanel(
            title="Deliveries",
            meaning="Windows a second that came to decode, by how they came.",
            unit="ops",
            queries=[
                PanelQuery(expr=f"sum by (kind) (rate(sluice_deliveries_total{ONE}[5m]))", legend="{{kind}}")
            ],
        ),
        DashboardPanel(
            title="Cost",
            meaning="Seconds of work on its windows in a second, by stage.",
            unit="s",
            stacked=True,
            queries=[
                PanelQuery(
                    expr=f"sum by (stage) (rate(sluice_stage_seconds_total{ONE}[5m]))", legend="{{stage}}"
                )
            ],
        ),
    ],
)
FLOW = PanelRow(
    title="What it sends",
    panels=[
        DashboardPanel(
            title="Batches",
            meaning="A second: accepted, dispatched, repeated, deposited.",
            unit="ops",
            queries=[
                PanelQuery(expr=f"sum(rate(sluice_http_batches_total{ONE}[5m]))", legend="accepted"),
                PanelQuery(expr=f"sum(rate(sluice_dispatched_batches_total{ONE}[5m]))", legend="dispatched"),
                PanelQuery(
                    expr=f"sum(rate(sluice_duplicate_batches_total{ONE}[5m]))",
                    legend="duplicates",
                    often_empty=True,
                ),
                PanelQuery(expr=f"sum(rate(sluice_deposited_batches_total{ONE}[5m]))", legend="deposited"),
            ],
        ),
        DashboardPanel(
            title="Bytes a second",
            meaning="Bodies as sent.",
            unit="bytes",
            queries=[PanelQuery(expr=f"sum(rate(sluice_http_bytes_total{ONE}[5m]))", legend="accepted")],
        ),
        DashboardPanel(
            title="Events",
            meaning="Events a second of committed deposits.",
            unit="ops",
            queries=[PanelQuery(expr=f"customer:sluice_deposited_events:rate5m{ONE}", legend="deposited")],
        ),
        DashboardPanel(
            title="Refused by limits (429)",
            meaning="Batches a second, by limit.",
            unit="ops",
            queries=[
                PanelQuery(
                    expr=f"sum by (limit) (rate(sluice_http_limited_total{ONE}[5m]))",
                    legend="{{limit}}",
                    often_empty=True,
                )
            ],
        ),
        DashboardPanel(
            title="Sent to quarantine",
            meaning="Rejected events and unfit batches a second, by reason.",
            unit="ops",
            queries=[
                PanelQuery(
                    expr=f"sum by (reason) (rate(sluice_rejected_events_total{ONE}[5m]))",
                    legend="events: {{reason}}",
                    often_empty=True,
                ),
                PanelQuery(
                    expr=f"sum by (reason) (rate(sluice_quarantined_batches_total{ONE}[5m]))",
                    legend="batches: {{reason}}",
                    often_empty=True,
                ),
            ],
        ),
        DashboardPanel(
            title="Quarantine of today",
            meaning="Bytes kept today, and the budget of the day.",
            unit="bytes",
            queries=[
                PanelQuery(expr=f"max(sluice_quarantine_day_bytes{ONE})", legend="today"),
                PanelQuery(expr=f"max(sluice_quarantine_budget_bytes{ONE})", legend="budget"),
            ],
        ),
        DashboardPanel(
            title="Rows in quarantine",
            meaning="Rows that nothing was done about yet, and rows withheld today.",
            queries=[
                PanelQuery(expr=f"max(sluice_quarantine_rows{ONE})", legend="kept"),
                PanelQuery(expr=f"max(sluice_quarantine_withheld_rows{ONE})", legend="withheld today"),
            ],
        ),
        DashboardPanel(
            title="Expired",
            meaning="Batches that retention removed before they were dispatched, in an hour. They are lost.",
            queries=[
                PanelQuery(
                    expr=f"sum(increase(sluice_expired_batches_total{ONE}[1h]))",
                    legend="expired",
                    often_empty=True,
                )
            ],
        ),
    ],
)

CUSTOMER = Dashboard(
    name="customer",
    title="Sluice: customer",
    rows=[NOW, BEHIND, FLOW],
    variables={"customer": "customer:sluice_oldest_owed_seconds:max"},
)
