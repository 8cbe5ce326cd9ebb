"""The dashboards' files are what their description says, and ask for what there is."""

import json
import re

import pytest
import yaml

from deploy.grafana.panels import Dashboard
from deploy.grafana.write import DASHBOARDS, FOLDER, text
from tests.unit.test_alerts import ROOT, metrics, rules

PAGES = [ROOT / "docs" / name for name in ("metrics.md", "http-api.md")]
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def documented() -> set[str]:
    """The metrics that the pages describe."""
    return {name for page in PAGES for name in re.findall(r"^\| `(sluice_\w+)`", page.read_text(), re.M)}


def expressions() -> list[str]:
    return [
        query.expr
        for dashboard in DASHBOARDS
        for row in dashboard.rows
        for panel in row.panels
        for query in panel.queries
    ] + [rule["expr"] for rule in rules()]


def test_the_files_are_what_the_description_says() -> None:
    """`python -m deploy.grafana.write` writes them."""
    assert {path.name for path in FOLDER.iterdir()} == {f"{one.name}.json" for one in DASHBOARDS}
    for dashboard in DASHBOARDS:
        assert (FOLDER / f"{dashboard.name}.json").read_text() == text(dashboard)


def test_every_metric_that_rules_and_dashboards_ask_for_is_documented() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for expression in expressions() for name in metrics(expression)} - recorded
    own = {HISTOGRAM.sub("", name) for name in asked if name.startswith("sluice_")}
    assert own
    assert own <= documented(), own - documented()
    assert not {name for name in asked if ":" in name}, "a series that no rule records"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: str(dashboard.name))
def test_no_two_panels_overlap_and_none_has_the_number_of_another(dashboard: Dashboard) -> None:
    panels = json.loads(text(dashboard))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_links_lead_to_dashboards_that_there_are() -> None:
    linked = {name for dashboard in DASHBOARDS for name in re.findall(r"/d/sluice-([a-z]+)", text(dashboard))}
    assert linked
    assert linked <= {dashboard.name for dashboard in DASHBOARDS}


def test_what_is_provisioned_is_yaml_with_the_source_that_dashboards_choose_from() -> None:
    folder = FOLDER.parent / "provisioning"
    sources = yaml.safe_load((folder / "datasources" / "sluice.yml").read_text())["datasources"]
    assert [source["type"] for source in sources] == ["prometheus"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "sluice.yml").read_text())["providers"]
    assert provider["type"] == "file"
