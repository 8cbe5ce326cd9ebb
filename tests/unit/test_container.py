"""deploy/container: what the image holds, and what compose.yaml starts from it."""

import fnmatch
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_rooms import ROOMS
from tests.units import ROOT

FOLDER = ROOT / "deploy" / "container"
NOT_IN_THE_IMAGE = {"bench", "deploy"}
OURS = ("receiver", "dispatcher", "worker", "flower", "migrate")


def instructions() -> list[tuple[str, str]]:
    """Of the Containerfile, in order."""
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def copied() -> set[str]:
    """What is copied from the project."""
    words = [value.split() for name, value in instructions() if name == "COPY" and "--from" not in value]
    return {source for each in words for source in each[:-1]}


def last(name: str) -> str:
    return [value for each, value in instructions() if each == name][-1]


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return document


def services() -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"]
    return found


def test_the_image_holds_what_production_runs_and_no_more() -> None:
    rooms = {room if (ROOT / room).is_dir() else f"{room}.py" for room in ROOMS} - NOT_IN_THE_IMAGE
    assert rooms <= copied()
    assert all((ROOT / source).exists() for source in copied())
    assert not copied() & NOT_IN_THE_IMAGE


def test_all_that_is_copied_reaches_the_builder_and_nothing_else_does() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_in == copied()
    for secret in (".venv/bin/python", "var/run.env", "deploy/container/secrets/broker_url", ".git/config"):
        assert not any(fnmatch.fnmatch(secret, f"{name}*") for name in let_in - {"db"})


def test_the_image_runs_as_another_user_under_a_first_process_that_reaps() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last("USER")), "a number, which Kubernetes can check"
    assert last("USER").split(":")[0] in next(value for name, value in instructions() if "useradd" in value)
    assert last("ENTRYPOINT") == '["/usr/bin/tini", "--", "start"]'


def test_the_image_starts_the_procfiles_commands() -> None:
    said = (FOLDER / "start").read_text()
    commands = re.findall(r"exec (.*)", re.sub(r"\\\n\s*", "", said))
    started = [shlex.split(command.removesuffix(" ;;")) for command in commands]
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, command = line.split(": ", 1)
        if name in OURS:
            own = re.sub(r" --(hostname|address|port)=\S+", "", command)
            words = shlex.split(own)
            assert any(set(words) <= set(each) for each in started), command


def test_each_of_our_services_runs_one_command_of_the_image_on_a_read_only_file_system() -> None:
    for name in OURS:
        service = services()[name]
        assert (service["command"], service["read_only"]) == ([name], True)
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["build"] == {"context": "../..", "dockerfile": "deploy/container/Containerfile"}


def test_each_process_that_stays_has_a_probe_of_its_own() -> None:
    known = re.findall(r"^  (\w+)\) (?:asked|exec)", (FOLDER / "probe").read_text(), re.M)
    for name in set(OURS) - {"migrate"}:
        assert services()[name]["healthcheck"]["test"] == ["CMD", "probe", name]
        assert name in known
    for name in ("broker", "database"):
        assert services()[name]["healthcheck"]


def test_the_probes_wait_for_longer_than_the_asked_may_take() -> None:
    from tasks.health import AWAY_S, DEADLINE_S, TURN_DEADLINE_S

    def timeout_s(name: str) -> int:
        return int(services()[name]["healthcheck"]["timeout"].removesuffix("s"))

    assert timeout_s("worker") > DEADLINE_S + 2 * AWAY_S
    assert timeout_s("dispatcher") > TURN_DEADLINE_S + 4 * AWAY_S


def test_a_stop_leaves_the_time_that_a_process_takes_to_finish() -> None:
    from tasks.settings import TaskSettings
    from webapp.settings import HttpSettings

    def grace_s(name: str) -> int:
        return int(services()[name]["stop_grace_period"].removesuffix("s"))

    assert grace_s("receiver") > HttpSettings().drain_s + HttpSettings().graceful_s
    assert grace_s("worker") > TaskSettings().task_time_limit_s


def test_secrets_are_files_that_one_command_makes() -> None:
    made = set(re.findall(r"> secrets/(\S+)", (FOLDER / "make-secrets").read_text()))
    declared = {name: Path(each["file"]) for name, each in compose()["secrets"].items()}
    assert {f"secrets/{name}" for name in made} == {str(path) for path in declared.values()}
    used = {
        each if isinstance(each, str) else each["source"]
        for service in services().values()
        for each in service.get("secrets", [])
    }
    assert used == set(declared)
    for service in services().values():
        assert not [value for value in service.get("environment", {}).values() if "://" in value]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "deploy/container/secrets/" in ignored


@pytest.mark.parametrize("name", ["start", "probe", "make-secrets"])
def test_a_script_can_be_run(name: str) -> None:
    assert (FOLDER / name).stat().st_mode & 0o111


def test_only_agents_reach_the_installation_from_other_machines() -> None:
    published = [str(port) for service in services().values() for port in service.get("ports", [])]
    listens = re.search(r"^ +listen (\d+)", (ROOT / "deploy/nginx/nginx.conf").read_text(), re.M)
    assert listens is not None
    assert sorted(published) == sorted([f"{listens[1]}:{listens[1]}", "127.0.0.1:5555:5555"])
