"""`python -m deploy.grafana.write` writes the dashboards as JSON files for Grafana."""

import json
from pathlib import Path

from deploy.grafana.customer import CUSTOMER
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.panels import Dashboard
from deploy.grafana.processes import PROCESSES

FOLDER = Path(__file__).resolve().parent / "dashboards"
DASHBOARDS = (OVERVIEW, CUSTOMER, PROCESSES)


def text(dashboard: Dashboard) -> str:
    """The content of the dashboard's file."""
    return json.dumps(dashboard.written(), indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.name}.json").write_text(text(dashboard))


if __name__ == "__main__":
    main()
