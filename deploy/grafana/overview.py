"""The dashboard of the whole installation: is anything wrong, and where?"""

from deploy.grafana.panels import Dashboard, DashboardPanel, PanelQuery, PanelRow

NOW = PanelRow(
    title="Now",
    panels=[
        DashboardPanel(
            title="Alerts",
            meaning="Alerts of Sluice that fire. The runbook has a section for each.",
            kind="stat",
            width=3,
            warn=1,
            alarm=3,
            queries=[
                PanelQuery(expr='count(ALERTS{alertname=~"Sluice.+",alertstate="firing"}) or vector(0)')
            ],
        ),
        DashboardPanel(
            title="Oldest owed",
            meaning="Age of the oldest batch that is accepted and not deposited, of all customers.",
            kind="stat",
            width=3,
            unit="s",
            warn=60,
            alarm=300,
            queries=[PanelQuery(expr="max(customer:sluice_oldest_owed_seconds:max)")],
        ),
        DashboardPanel(
            title="Batches owed",
            meaning="Batches accepted and not deposited.",
            kind="stat",
            width=3,
            queries=[PanelQuery(expr="sum(customer:sluice_owed_batches:max)")],
        ),
        DashboardPanel(
            title="Events a second",
            meaning="Events of committed deposits.",
            kind="stat",
            width=3,
            queries=[PanelQuery(expr="sum(customer:sluice_deposited_events:rate5m)")],
        ),
        DashboardPanel(
            title="Not accepted",
            meaning="Share of the batches that got 503 or 500 in 5 minutes. Objective: 0.1 % in 30 days.",
            kind="stat",
            width=3,
            unit="percentunit",
            warn=0.001,
            alarm=0.0144,
            queries=[PanelQuery(expr="sluice:http_unaccepted:ratio_rate5m")],
        ),
        DashboardPanel(
            title="Late windows",
            meaning="Share of the windows deposited later than 5 s in 5 minutes. Objective: 1 % in 30 days.",
            kind="stat",
            width=3,
            unit="percentunit",
            warn=0.01,
            alarm=0.144,
            queries=[PanelQuery(expr="sluice:late_windows:ratio_rate5m")],
        ),
        DashboardPanel(
            title="Differences in the books",
            meaning="Equations of the books that do not hold. Always 0, or something is not accounted for.",
            kind="stat",
            width=3,
            alarm=1,
            queries=[PanelQuery(expr="sum(max by (customer) (sluice_books_differences))")],
        ),
        DashboardPanel(
            title="Breakers open",
            meaning="Customers whose breaker is open: nothing of them is deposited.",
            kind="stat",
            width=3,
            warn=1,
            queries=[PanelQuery(expr="sum(max by (customer) (sluice_breaker_open))")],
        ),
    ],
)
CUSTOMERS = PanelRow(
    title="Customers",
    panels=[
        DashboardPanel(
            title="Worst customers",
            meaning="Whose oldest batch has waited for longest. A click leads to the customer's dashboard.",
            kind="table",
            width=12,
            queries=[
                PanelQuery(
                    expr="topk(20, customer:sluice_oldest_owed_seconds:max)",
                    legend="oldest owed (s)",
                ),
            ],
        ),
        DashboardPanel(
            title="Oldest owed by customer",
            meaning="The ten customers that are furthest behind.",
            width=12,
            unit="s",
            queries=[
                PanelQuery(expr="topk(10, customer:sluice_oldest_owed_seconds:max)", legend="{{customer}}")
            ],
        ),
        DashboardPanel(
            title="Until the oldest owed batch expires",
            meaning="Seconds until the raw stream's retention removes it; the ten shortest.",
            unit="s",
            queries=[
                PanelQuery(
                    expr="bottomk(10, customer:sluice_owed_expiry_seconds:min)",
                    legend="{{customer}}",
                    often_empty=True,
                )
            ],
        ),
        DashboardPanel(
            title="Events deposited by customer",
            meaning="Events a second; the ten largest customers.",
            stacked=True,
            queries=[
                PanelQuery(expr="topk(10, customer:sluice_deposited_events:rate5m)", legend="{{customer}}")
            ],
        ),
        DashboardPanel(
            title="Cost by customer",
            meaning="Seconds of work on windows in a second, as all stages together; the ten largest.",
            unit="s",
            stacked=True,
            queries=[
                PanelQuery(
                    expr="topk(10, sum by (customer) (rate(sluice_stage_seconds_total[5m])))",
                    legend="{{customer}}",
                )
            ],
        ),
        DashboardPanel(
            title="Quarantined by customer",
            meaning="Rejected events and unfit batches a second; the ten largest.",
            queries=[
                PanelQuery(
                    expr="topk(10, sum by (customer) (rate(sluice_rejected_events_total[5m])))",
                    legend="{{customer}}: events",
                    often_empty=True,
                ),
                PanelQuery(
                    expr="topk(10, sum by (customer) (rate(sluice_quarantined_batches_total[5m])))",
                    legend="{{customer}}: batches",
                    often_empty=True,
                ),
            ],
        ),
        DashboardPanel(
            title="Refused by limits (429)",
            meaning="Batches a second; the ten customers with most.",
            queries=[
                PanelQuery(
                    expr="topk(10, customer:sluice_http_limited:rate15m)",
                    legend="{{customer}}",
                    often_empty=True,
                )
            ],
        ),
        DashboardPanel(
            title="Customers by state",
            meaning="How many customers are active, paused, dropping and blocked.",
            queries=[PanelQuery(expr="max by (state) (sluice_customers)", legend="{{state}}")],
        ),
    ],
)
RECEIVING = PanelRow(
    title="Receiving",
    panels=[
        DashboardPanel(
            title="Batches",
            meaning="Batches answered with success, a second.",
            unit="ops",
            stacked=True,
            queries=[
                PanelQuery(
                    expr="sum by (outcome) (rate(sluice_http_batches_total[5m]))", legend="{{outcome}}"
                )
            ],
        ),
        DashboardPanel(
            title="Refusals",
            meaning="Requests refused, a second, by problem.",
            unit="ops",
            queries=[
                PanelQuery(
                    expr="sum by (problem) (rate(sluice_http_refusals_total[5m]))",
                    legend="{{problem}}",
                    often_empty=True,
                )
            ],
        ),
        DashboardPanel(
            title="Time to accept",
            meaning="p99 from the request's headers to the confirm, and of the confirm alone.",
            unit="s",
            queries=[
                PanelQuery(expr="sluice:http_accept_seconds:p99_rate5m", legend="accept"),
                PanelQuery(expr="sluice:http_confirm_seconds:p99_rate5m", legend="confirm"),
            ],
        ),
    ],
)
SCALE = PanelRow(
    title="Workers and servers",
    panels=[
        DashboardPanel(
            title="Worker processes",
            meaning="Those there are, and those that would bring the oldest owed below the target, by queue.",
            queries=[
                PanelQuery(expr="max by (queue) (sluice_worker_processes)", legend="{{queue}}: there"),
                PanelQuery(expr="max by (queue) (sluice_workers_wanted)", legend="{{queue}}: wanted"),
            ],
        ),
        DashboardPanel(
            title="Database",
            meaning="Bytes of the database, and of PostgreSQL's WAL.",
            unit="bytes",
            queries=[
                PanelQuery(expr="max(sluice_database_bytes)", legend="database"),
                PanelQuery(expr="max(sluice_database_wal_bytes)", legend="WAL", often_empty=True),
            ],
        ),
        DashboardPanel(
            title="Broker's free disk",
            meaning="And the limit below which RabbitMQ blocks. Needs RabbitMQ's own metrics.",
            unit="bytes",
            queries=[
                PanelQuery(
                    expr="rabbitmq_disk_space_available_bytes",
                    legend="{{instance}}: free",
                    often_empty=True,
                ),
                PanelQuery(
                    expr="rabbitmq_disk_space_available_limit_bytes",
                    legend="{{instance}}: limit",
                    often_empty=True,
                ),
            ],
        ),
    ],
)

OVERVIEW = Dashboard(
    name="overview",
    title="Sluice: overview",
    rows=[NOW, CUSTOMERS, RECEIVING, SCALE],
    variables={},
)
