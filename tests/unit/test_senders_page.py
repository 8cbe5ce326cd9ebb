"""The matrix of senders in docs/formats.md is what was recorded, of the versions that are pinned."""

import json
import re

import pytest

from tests.browsers.setup import PAGES
from tests.senders.outcomes import ALL, PAGE, PLACES, matrix, on_page, recorded
from tests.senders.senders import WEB_SDK
from tests.senders.setups import HERE, PIP_NAME, names
from tests.unit.test_rooms import ROOT

PINNED = {
    "OpenTelemetry SDK for Python 1.20": ("python-1.20", "opentelemetry-sdk"),
    "OpenTelemetry SDK for Python, newest": ("python-newest", "opentelemetry-sdk"),
    "OpenTelemetry SDK for Node 0.26, protobuf": ("node-0.26", "@opentelemetry/exporter-otlp-proto"),
    "OpenTelemetry SDK for Node 0.26, JSON": ("node-0.26", "@opentelemetry/exporter-otlp-http"),
    "OpenTelemetry SDK for Node, newest, protobuf": (
        "node-newest",
        "@opentelemetry/exporter-trace-otlp-proto",
    ),
    "OpenTelemetry SDK for Node, newest, JSON": ("node-newest", "@opentelemetry/exporter-trace-otlp-http"),
    "OpenTelemetry SDK for Python 1.20, logs": ("python-1.20", "opentelemetry-sdk"),
    "OpenTelemetry SDK for Python, newest, logs": ("python-newest", "opentelemetry-sdk"),
    "OpenTelemetry SDK for Node, newest, logs, protobuf": (
        "node-newest",
        "@opentelemetry/exporter-logs-otlp-proto",
    ),
    "OpenTelemetry SDK for Node, newest, logs, JSON": (
        "node-newest",
        "@opentelemetry/exporter-logs-otlp-http",
    ),
    "apache-arrow for JavaScript": ("arrow-js", "apache-arrow"),
    "rotel, from the newest SDK for Python": ("rotel", "rotel"),
}


def pinned(setup: str, package: str) -> str:
    """The version in the set-up's lock file."""
    requirements = HERE / setup / PIP_NAME
    if requirements.exists():
        return in_requirements(requirements.read_text(), package)
    packages = json.loads((HERE / setup / "package-lock.json").read_text())["packages"]
    return str(packages[f"node_modules/{package}"]["version"])


def in_requirements(text: str, package: str) -> str:
    found = re.search(rf"^{package}==([^ ]+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_page_has_what_was_recorded() -> None:
    assert on_page(PAGE.read_text()) == matrix(recorded())


def test_every_sender_was_seen_in_every_scenario() -> None:
    assert [(one.sender, one.scenario) for one in recorded()] == PLACES
    assert {one.outcome for one in recorded() if one.scenario == "sizes"} == {ALL}


@pytest.mark.parametrize("sender", PINNED)
def test_what_was_recorded_is_of_the_version_that_is_pinned(sender: str) -> None:
    assert {one.version for one in recorded() if one.sender == sender} == {pinned(*PINNED[sender])}


def test_the_web_sdk_is_what_the_pages_have() -> None:
    packages = json.loads((PAGES / "package-lock.json").read_text())["packages"]
    version = packages["node_modules/@opentelemetry/exporter-trace-otlp-http"]["version"]
    assert {one.version for one in recorded() if one.sender == WEB_SDK} == {version}


def test_polars_is_ours() -> None:
    ours = in_requirements((ROOT / "requirements.txt").read_text(), "polars")
    assert {one.version for one in recorded() if one.sender == "polars"} == {ours}


def test_every_set_up_is_of_a_row() -> None:
    assert {setup for setup, _ in PINNED.values()} | {"node"} == set(names())


def test_every_package_of_a_set_up_has_a_checksum() -> None:
    for path in HERE.glob("*/package-lock.json"):
        packages = json.loads(path.read_text())["packages"]
        assert all("integrity" in package for name, package in packages.items() if name), path
    for path in HERE.glob(f"*/{PIP_NAME}"):
        assert "--hash=sha256:" in path.read_text()
