"""What a dashboard is made of, and its JSON for Grafana 9 or newer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24  # columns of Grafana's grid
PANEL_HEIGHT, STAT_HEIGHT = 8, 4

Unit = Literal["short", "s", "bytes", "percentunit", "ops", "none", "dateTimeFromNow"]


@dataclass(frozen=True, kw_only=True)
class PanelQuery:
    """An expression and the name of its lines. `often_empty`: has no data unless something is wrong, or
    without PostgreSQL, RabbitMQ's metrics, a limit or the like.
    """

    expr: str
    legend: str = ""
    often_empty: bool = False


@dataclass(frozen=True, kw_only=True)
class DashboardPanel:
    """One panel. `warn` and `alarm` are the values from which on it is yellow and red."""

    title: str
    meaning: str
    queries: Sequence[PanelQuery]
    unit: Unit = "short"
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    stacked: bool = False
    warn: float | None = None
    alarm: float | None = None

    def written(self, number: int, x: int, y: int) -> dict[str, Any]:
        height = STAT_HEIGHT if self.kind == "stat" else PANEL_HEIGHT
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        steps += [{"color": "yellow", "value": self.warn}] if self.warn is not None else []
        steps += [{"color": "red", "value": self.alarm}] if self.alarm is not None else []
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "color": {"mode": "palette-classic" if self.kind == "timeseries" else "thresholds"},
        }
        if self.kind == "timeseries":
            defaults["min"] = 0
            defaults["custom"] = {
                "fillOpacity": 30 if self.stacked else 0,
                "stacking": {"mode": "normal" if self.stacked else "none"},
                "showPoints": "never",
            }
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.meaning,
            "datasource": SOURCE,
            "gridPos": {"h": height, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": defaults, "overrides": self._links()},
            "options": self._options(),
            "transformations": self._columns(),
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": SOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend,
                    "instant": self.kind == "table",
                    "range": self.kind != "table",
                    "format": "table" if self.kind == "table" else "time_series",
                }
                for index, query in enumerate(self.queries)
            ],
        }

    def _options(self) -> dict[str, Any]:
        if self.kind == "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom"},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        return {"reduceOptions": {"calcs": ["lastNotNull"]}} if self.kind == "stat" else {"showHeader": True}

    def _columns(self) -> list[dict[str, Any]]:
        """Of a table: one row a label, a column for each query, named by its legend."""
        if self.kind != "table":
            return []
        values = [f"Value #{chr(ord('A') + index)}" for index in range(len(self.queries))]
        if len(values) == 1:
            values = ["Value"]
        return [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": dict(zip(values, (query.legend for query in self.queries), strict=True)),
                },
            },
        ]

    def _links(self) -> list[dict[str, Any]]:
        """In a table, a customer leads to its dashboard."""
        if self.kind != "table":
            return []
        url = "/d/sluice-customer?var-customer=${__value.raw}&${source:queryparam}&${__url_time_range}"
        links = [{"title": "The customer's dashboard", "url": url}]
        return [
            {
                "matcher": {"id": "byName", "options": "customer"},
                "properties": [{"id": "links", "value": links}],
            }
        ]


@dataclass(frozen=True, kw_only=True)
class PanelRow:
    """Panels below one heading; a line is broken where the next panel does not fit."""

    title: str
    panels: Sequence[DashboardPanel]


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """`variables`: by name, the expression whose values of the label of that name one chooses from."""

    name: str
    title: str
    rows: Sequence[PanelRow]
    variables: dict[str, str]

    def written(self) -> dict[str, Any]:
        """The dashboard as Grafana imports it."""
        panels: list[dict[str, Any]] = []
        number, y = 0, 0
        for row in self.rows:
            number += 1
            place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
            panels.append(
                {
                    "id": number,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
            )
            x, y, tallest = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y, tallest = 0, y + tallest, 0
                number += 1
                panels.append(panel.written(number, x, y))
                x += panel.width
                tallest = max(tallest, panels[-1]["gridPos"]["h"])
            y += tallest
        return {
            "uid": f"sluice-{self.name}",
            "title": self.title,
            "tags": ["sluice"],
            "schemaVersion": 37,
            "version": 1,
            "editable": True,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "utc",
            "links": [{"type": "dashboards", "tags": ["sluice"], "title": "Sluice", "includeVars": True}],
            "templating": {"list": [_SOURCES, *(self._variable(name) for name in self.variables)]},
            "panels": panels,
        }

    def _variable(self, name: str) -> dict[str, Any]:
        asked = f"label_values({self.variables[name]}, {name})"
        return {
            "name": name,
            "type": "query",
            "datasource": SOURCE,
            "definition": asked,
            "query": {"query": asked, "refId": name},
            "refresh": 2,
            "sort": 1,
        }


_SOURCES = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
