"""Processes killed, ended and stopped from outside, wherever they happen to be."""

import time
from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import pytest

from deploy.local import ports
from tests.fault.attempt import attempt
from tests.fault.installation import Installation, wait_gone
from tests.whole import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

CHILDREN = {"receiver": "gunicorn worker", "worker": "prefork child"}
PARENTS = {"receiver": "gunicorn master", "dispatcher": "dispatcher", "worker": "worker's parent"}
ENDS_WITHIN_S = 30.0
STOPPED_S = 15.0  # longer than a lease lives, and than two heartbeats


@pytest.mark.parametrize("name", CHILDREN)
def test_a_killed_child_costs_nothing(installation: Installation, name: str) -> None:
    def fault(installation: Installation) -> None:
        child = installation.children(name)[-1]
        installation.kill(child)
        wait_gone(child, CHILDREN[name])

    attempt(installation, f"{CHILDREN[name]} × SIGKILL", fault)


@pytest.mark.parametrize("name", PARENTS)
def test_a_killed_process_costs_nothing(installation: Installation, name: str) -> None:
    def fault(installation: Installation) -> None:
        wait_gone(installation.signal(name, SIGKILL), PARENTS[name])

    attempt(installation, f"{PARENTS[name]} × SIGKILL", fault)


@pytest.mark.parametrize("name", PARENTS)
def test_a_process_that_is_asked_to_end_does_so_in_time_and_costs_nothing(
    installation: Installation, name: str
) -> None:
    def fault(installation: Installation) -> None:
        took_s = wait_gone(installation.signal(name, SIGTERM), PARENTS[name])
        assert took_s < ENDS_WITHIN_S

    attempt(installation, f"{PARENTS[name]} × SIGTERM", fault)


def test_readiness_turns_false_before_the_listener_closes(installation: Installation) -> None:
    def ready() -> int:
        try:
            return installation.whole.get("/readyz").status
        except OSError:
            return 0

    until(lambda: ready() == 200, "the receiver to be ready")
    installation.signal("receiver", SIGTERM)
    seen = [200]
    while seen[-1] != 0:
        if (status := ready()) != seen[-1]:
            seen.append(status)
    assert seen == [200, 503, 0]
    until(lambda: ready() == 200, "the receiver's successor")


@pytest.mark.parametrize("name", [*PARENTS, *CHILDREN.values()])
def test_a_process_that_stands_still_for_longer_than_a_lease_costs_nothing(
    installation: Installation, name: str
) -> None:
    role = next((role for role, child in CHILDREN.items() if child == name), name)

    def fault(installation: Installation) -> None:
        pid = installation.whole.processes[role].pid if role == name else installation.children(role)[-1]
        installation.kill(pid, SIGSTOP)
        time.sleep(STOPPED_S)
        installation.kill(pid, SIGCONT)

    attempt(installation, f"{PARENTS.get(name, name)} × SIGSTOP {STOPPED_S:.0f} s", fault)


def _kill_dispatcher(installation: Installation) -> None:
    wait_gone(installation.signal("dispatcher", SIGKILL), "the dispatcher")


def _stop_at(point: str) -> Callable[[Installation], None]:
    def fault(installation: Installation) -> None:
        installation.arm(point, SIGSTOP)
        pid = installation.fired(point)
        time.sleep(STOPPED_S)
        installation.kill(pid, SIGCONT)

    return fault


def _supersede_at(point: str) -> Callable[[Installation], None]:
    """Two dispatchers lead then: the one that stood still believes that it still does."""

    def fault(installation: Installation) -> None:
        installation.arm(point, SIGSTOP)
        pid = installation.fired(point)
        installation.superseded(pid)
        installation.kill(pid, SIGCONT)

    return fault


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("SIGKILL", _kill_dispatcher),
        ("SIGSTOP at dispatch-before", _supersede_at("dispatch-before")),
        ("SIGSTOP at dispatch-uncommitted", _stop_at("dispatch-uncommitted")),
        ("SIGSTOP at ring-before", _supersede_at("ring-before")),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_two_dispatchers_that_both_believe_they_lead_do_each_window_once(
    installation: Installation, how: str, fault: Callable[[Installation], None]
) -> None:
    installation.start("second", "dispatcher")
    try:
        attempt(installation, f"dispatcher with a second one × {how}", fault)
        if how == "SIGSTOP at dispatch-before":
            said = installation.whole.log("dispatcher") + installation.whole.log("second")
            assert "lease_lost" in said, "nobody was superseded"
    finally:
        installation.retire("second")


@pytest.mark.parametrize("point", ["decode-unhanded", "process-published", "deposit-uncommitted"])
def test_a_prefork_child_that_stands_still_at_a_point_costs_nothing(
    installation: Installation, point: str
) -> None:
    attempt(installation, f"{point} × SIGSTOP {STOPPED_S:.0f} s", _stop_at(point))


def test_flower_is_only_a_window(installation: Installation) -> None:
    (port,) = ports.free(1)
    installation.start("flower", None, f"--port={port}")
    until(lambda: ports.accepts(port), "Flower to listen")

    def fault(installation: Installation) -> None:
        wait_gone(installation.signal("flower", SIGKILL), "Flower")

    try:
        attempt(installation, "Flower × SIGKILL", fault)
    finally:
        installation.retire("flower", SIGKILL)
