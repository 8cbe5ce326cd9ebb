"""Absurd settings of dispatchers and workers are refused by name, before anything starts."""

import pytest

from environment.errors import Misconfigured
from tasks.settings import TaskSettings

BINDS = ("SLUICE_TASK_DISPATCHER_METRICS_BIND", "SLUICE_TASK_WORKER_METRICS_BIND")


@pytest.mark.parametrize("name", BINDS)
@pytest.mark.parametrize("value", ["127.0.0.1:65536", "127.0.0.1", "::1:9465"])
def test_the_metrics_port_must_exist(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=f"{name}='{value}'"):
        TaskSettings()


@pytest.mark.parametrize("name", BINDS)
@pytest.mark.parametrize("value", ["", "127.0.0.1:0", "[::1]:9465", "localhost:65535"])
def test_an_address_or_none_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert value in (TaskSettings().dispatcher_metrics_bind, TaskSettings().worker_metrics_bind)
