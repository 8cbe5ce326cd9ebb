"""Where RabbitMQ 4.x comes from, and what is said when it can't be had."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.local import debian, releases
from deploy.local.install import PackageMissing


def test_a_release_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER", "5")
    with pytest.raises(PackageMissing, match=r"^there is no BROKER=5: 4, or nothing"):
        releases.chosen()


def test_who_is_not_root_is_told_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROKER", "4")
    monkeypatch.setattr(debian, "VAR", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PackageMissing, match=r"^only root can unpack Debian forky .*without BROKER=4$"):
        releases.chosen()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Debian-Security\thttp://security.example/debian-security/\nDebian\thttp://a.example/d/\n", "a"),
        ("Other\thttp://b.example/debian/\nDebian\thttp://a.example/debian/\n", "a"),
        ("\thttp://b.example/other/\n\thttp://a.example/debian/\n", "a"),
    ],
)
def test_the_mirror_is_the_one_that_apt_takes_debian_from(
    monkeypatch: pytest.MonkeyPatch, said: str, found: str
) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout=said, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert debian.mirror().startswith(f"http://{found}.example/")


def test_a_machine_without_a_mirror_is_told_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess([], 0, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(PackageMissing, match=r"^apt knows no mirror of Debian"):
        debian.mirror()


def test_a_node_remembers_the_release_that_it_was_started_with(tmp_path: Path) -> None:
    started = releases.Release("/usr/lib/rabbitmq/bin/rabbitmq-server", tmp_path / "debian")
    started.remember(tmp_path)
    assert releases.remembered(tmp_path) == started
    assert started.seen(tmp_path) == Path("/node")
