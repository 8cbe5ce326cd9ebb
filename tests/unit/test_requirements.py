"""The lists of dependencies name what is imported, no more and no less, and pin it with hashes."""

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "bench",
    "db",
    "deploy",
    "environment",
    "migrations",
    "operators",
    "pipelines",
    "streams",
    "supervision",
    "tasks",
    "tracing",
    "webapp",
)
OURS = {*ROOMS, "tests", "celeryconfig"}
# Used without an import.
COMMANDS = {
    "flower": "Procfile",
    "msgpack": "kombu finds it by the serializer's name in celeryconfig.py",
    "mypy": "make check",
    "pip-tools": "make lock",
    "pytest-cov": "Makefile",
    "pytest-timeout": "pyproject.toml",
    "pytest-xdist": "Makefile",
    "ruff": "make check",
}


# Only `make bench` runs these: the plots with the developers' list, the peer with a list of its own.
PLOTS, PEER = ROOT / "bench" / "suite" / "plots.py", ROOT / "bench" / "peers" / "third.py"


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(path: str) -> set[str]:
    lines = (ROOT / path).read_text().splitlines()
    return {
        plain(match[0])
        for line in lines
        if (match := re.match(r"[A-Za-z0-9._-]+", line)) and line[0] not in "#-"
    }


def imported(*places: str) -> set[str]:
    """Distributions of what the files below these places import."""
    tops: set[str] = set()
    for place in places:
        found = (ROOT / place).rglob("*.py") if (ROOT / place).is_dir() else [ROOT / place]
        for path in found:
            if path in (PLOTS, PEER) and place == "bench":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    tops |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    tops.add(node.module or "")
    return {
        distribution(name) for name in tops if name.partition(".")[0] not in {*sys.stdlib_module_names, *OURS}
    }


@cache
def distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


def distribution(module: str) -> str:
    # Several distributions share these top names.
    for prefix, name in (
        ("google.protobuf", "protobuf"),
        ("google.rpc", "googleapis-common-protos"),
        ("opentelemetry.proto", "opentelemetry-proto"),
        ("opentelemetry.exporter", "opentelemetry-exporter-otlp-proto-http"),
        ("opentelemetry", "opentelemetry-sdk"),
    ):
        if module == prefix or module.startswith(f"{prefix}."):
            return name
    top = module.partition(".")[0]
    return plain(distributions().get(top, [top])[0])


def test_what_runs_imports_only_what_requirements_in_names() -> None:
    assert imported(*ROOMS) <= named("requirements.in")


def test_tests_import_only_what_the_lists_name() -> None:
    assert imported("tests", "bench/suite/plots.py") <= named("requirements.in") | named(
        "requirements-dev.in"
    )


def test_the_peer_imports_only_what_its_own_list_names() -> None:
    asked = imported("bench/peers/third.py", "bench/peers/otlp.py")
    assert asked | {"rotel"} == named("bench/peers/requirements.in")  # rotel is run as a program


def test_every_named_requirement_is_used() -> None:
    used = imported(*ROOMS, "tests", "bench/suite/plots.py") | set(COMMANDS)
    listed = named("requirements.in") | named("requirements-dev.in")
    assert not {name for name in listed - used if not name.startswith("types-")}


@pytest.mark.parametrize("lock", ["requirements", "requirements-dev", "bench/peers/requirements"])
def test_a_lock_file_pins_everything_that_its_list_names_with_hashes(lock: str) -> None:
    text = (ROOT / f"{lock}.txt").read_text()
    pinned = dict(
        re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+) \\\n    --hash=sha256:", text, re.MULTILINE)
    )
    assert named(f"{lock}.in") <= set(pinned)
    assert len(pinned) == len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE))


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "bench/peers/requirements.txt"])
def test_a_lock_file_names_no_host_and_no_folder(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|@ |^-(i|f|-index|-extra|-find|-trusted)|(^| )/", text, re.MULTILINE)


def test_both_lock_files_agree() -> None:
    pins = [
        dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt")
    ]
    assert not {name for name in set(pins[0]) & set(pins[1]) if pins[0][name] != pins[1][name]}
