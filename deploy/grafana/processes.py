"""The dashboard of the processes, in the order in which a batch passes them."""

from deploy.grafana.panels import Dashboard, DashboardPanel, PanelQuery, PanelRow, Unit

PLACE = "{{job}} {{instance}}"


def _chart(
    title: str,
    meaning: str,
    expr: str,
    legend: str = PLACE,
    unit: Unit = "short",
    *,
    often_empty: bool = False,
) -> DashboardPanel:
    query = PanelQuery(expr=expr, legend=legend, often_empty=often_empty)
    return DashboardPanel(title=title, meaning=meaning, unit=unit, queries=[query])


def _quantiles(title: str, meaning: str, metric: str) -> DashboardPanel:
    return DashboardPanel(
        title=title,
        meaning=meaning,
        unit="s",
        queries=[
            PanelQuery(
                expr=f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket[5m])))",
                legend=f"p{100 * q:g}",
            )
            for q in (0.5, 0.99)
        ],
    )


ALL = PanelRow(
    title="All processes",
    panels=[
        _chart("Up", "1: Prometheus got the metrics of the process.", 'up{job=~"sluice-.+"}'),
        _chart(
            "Main loop: last turn",
            "Seconds since the main loop turned.",
            "time() - sluice_beat_timestamp_seconds",
            unit="s",
        ),
        _chart(
            "Main loop: late by (p99)",
            "How late it came to what was due.",
            "instance:sluice_loop_delay_seconds:p99_rate5m",
            unit="s",
        ),
        _chart(
            "Beats",
            "Seconds since the beats of dispatchers and workers changed in the database.",
            "max by (process, name) (sluice_peer_beat_age_seconds)",
            "{{process}} {{name}}",
            "s",
        ),
        _chart(
            "Wait for the database (p99)",
            "Of dispatchers and workers, until a connection is there.",
            "instance:sluice_database_wait_seconds:p99_rate5m",
            unit="s",
        ),
        _chart(
            "Connections made again",
            "Of dispatchers and workers, in 5 minutes.",
            "sum by (job, instance, to) (increase(sluice_reconnects_total[5m]))",
            "{{job}} {{instance}} to {{to}}",
            often_empty=True,
        ),
    ],
)
RECEIVERS = PanelRow(
    title="Receivers",
    panels=[
        _chart(
            "Batches",
            "Answered with success, a second.",
            "sum by (job, instance) (rate(sluice_http_batches_total[5m]))",
            unit="ops",
        ),
        _quantiles("Accept", "From the request's headers to the confirm.", "sluice_http_accept_seconds"),
        _quantiles("Confirm", "From publishing to the broker's confirm.", "sluice_http_confirm_seconds"),
    ],
)
DISPATCHERS = PanelRow(
    title="Dispatchers",
    panels=[
        _chart("Leases", "Customers that each dispatcher serves.", "sluice_leases"),
        _chart(
            "Windows",
            "Windows dispatched, a second.",
            "sum by (job, instance) (rate(sluice_dispatched_windows_total[5m]))",
            unit="ops",
        ),
        _chart(
            "Rounds given up",
            "A second, because the broker or the database was away.",
            "sum by (reason) (rate(sluice_dispatch_waits_total[5m]))",
            "{{reason}}",
            often_empty=True,
        ),
        _chart(
            "Measured",
            "Seconds since the figures by customer were measured.",
            "time() - max(sluice_measured_timestamp_seconds)",
            "ago",
            "s",
        ),
        _chart(
            "Books checked",
            "Seconds since the last complete round over all books began.",
            "time() - max(sluice_books_checked_timestamp_seconds)",
            "ago",
            "s",
        ),
        _chart(
            "Partitions",
            "Seconds until the newest partition ends. PostgreSQL only.",
            "min by (table) (sluice_partitions_ahead_seconds)",
            "{{table}}",
            "s",
            often_empty=True,
        ),
    ],
)
WORKERS = PanelRow(
    title="Workers",
    panels=[
        _chart(
            "Deliveries",
            "Windows a second that came to decode, by how they came.",
            "sum by (kind) (rate(sluice_deliveries_total[5m]))",
            "{{kind}}",
            "ops",
        ),
        _quantiles("Decode", "Reading and decoding a window.", "sluice_decode_seconds"),
        _quantiles("Process", "The pipeline, and publishing the results.", "sluice_process_seconds"),
        _quantiles("Deposit", "The transaction of a deposit.", "sluice_deposit_seconds"),
        _chart(
            "Windows in a deposit",
            "Mean.",
            "sum(rate(sluice_deposit_windows_sum[5m])) / sum(rate(sluice_deposit_windows_count[5m]))",
            "windows",
        ),
        _chart(
            "Windows in groups",
            "A second, by how they ended: those that left go by a chain of their own.",
            "sum by (outcome) (rate(sluice_grouped_windows_total[5m]))",
            "{{outcome}}",
            "ops",
            often_empty=True,
        ),
        _quantiles(
            "Lag of deposits", "From acceptance to the commit, by window.", "sluice_deposit_lag_seconds"
        ),
        _chart(
            "Deaths",
            "Deliveries that ended with their process, in 15 minutes.",
            "sum by (cause) (increase(sluice_deaths_total[15m]))",
            "{{cause}}",
            often_empty=True,
        ),
        _chart(
            "Failed tasks",
            "A second, by error.",
            "sum by (task, error) (rate(sluice_task_failures_total[5m]))",
            "{{task}}: {{error}}",
            "ops",
            often_empty=True,
        ),
        _chart(
            "Worker processes wanted",
            "What would bring the oldest owed below the target, less what there is.",
            "max by (queue) (sluice_workers_wanted) - max by (queue) (sluice_worker_processes)",
            "{{queue}}",
        ),
    ],
)

PROCESSES = Dashboard(
    name="processes",
    title="Sluice: processes",
    rows=[ALL, RECEIVERS, DISPATCHERS, WORKERS],
    variables={},
)
