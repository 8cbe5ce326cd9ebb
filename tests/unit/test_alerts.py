"""Prometheus' rules: promtool runs them over scenes, and the runbook has a section for each alert."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.alert_faults import FIRING, SILENT
from tests.unit.alert_scenes import NORMAL, Scene

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
RUNBOOK = ROOT / "docs" / "runbook.md"
PARTS = ["Meaning", "See it", "Do", "Ends"]
SEVERITIES = {"critical", "warning"}


@cache
def groups() -> list[dict[str, Any]]:
    return [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]


def rules() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def metrics(expression: str) -> set[str]:
    """The names of our metrics and recorded series in an expression."""
    return set(
        re.findall(r"\b(?:\w+:)?sluice_\w+(?::\w+)*|\bsluice:[\w:]+|\bup\b|\brabbitmq_\w+", expression)
    )


def test_promtool_accepts_the_rules(promtool: str) -> None:
    _promtool(promtool, "check", "rules", *map(str, RULES))


def test_promtool_accepts_the_configuration(promtool: str) -> None:
    said = _promtool(promtool, "check", "config", str(RULES[0].parents[1] / "prometheus.yml"))
    assert f"{len(RULES)} rule files found" in said


def test_each_alert_fires_at_its_fault_and_none_otherwise(promtool: str, tmp_path: Path) -> None:
    scenes: dict[str, Scene] = {**SILENT, **FIRING}
    tests = [scene.test(name) for name, scene in scenes.items()]
    file = tmp_path / "scenes.yml"
    file.write_text(
        yaml.safe_dump(
            {"rule_files": [str(path) for path in RULES], "evaluation_interval": "5m", "tests": tests}
        )
    )
    _promtool(promtool, "test", "rules", str(file))


def test_each_alert_has_a_scene_in_which_it_fires() -> None:
    assert {alert for scene in FIRING.values() for alert in scene.alerts} == set(alerts())
    assert not [name for name, scene in SILENT.items() if scene.alerts]


def test_the_normal_scene_has_what_the_rules_ask_for() -> None:
    """Or an alert is silent there only because it sees nothing."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = {name for rule in rules() for name in metrics(rule["expr"])} - recorded
    assert asked <= {series.partition("{")[0] for series in NORMAL}
    assert recorded == {name for rule in rules() for name in metrics(str(rule)) if ":" in name}


def test_a_rule_is_evaluated_after_what_it_asks_for() -> None:
    """Rules of a group are evaluated in their order, groups in any: what another group records can be of the
    evaluation before.
    """
    for group in groups():
        recorded: set[str] = set()
        for rule in group["rules"]:
            assert {name for name in metrics(rule["expr"]) if ":" in name} <= recorded, rule
            recorded |= {rule["record"]} if "record" in rule else set()


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    sections = dict(re.findall(r"^### (Sluice\w+)\n(.*?)(?=^#|\Z)", RUNBOOK.read_text(), re.M | re.S))
    assert set(sections) == set(alerts())
    for name, text in sections.items():
        assert re.findall(r"^\*\*([\w ]+)\.\*\* ", text, re.M) == PARTS, name


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_urgent_it_is_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"


def _promtool(program: str, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
