"""Where a newer Python for the tests comes from, and what is said when it can't be had."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.local import debian, pythons
from deploy.local.install import PackageMissing


def unpacked(at: Path) -> Path:
    """What `debian.build` leaves there, as far as the modules look: the folder."""
    libraries = at / "debian-trixie" / "usr" / "lib" / "machine-linux-gnu"
    libraries.mkdir(parents=True)
    (libraries / "libc.so.6").touch()
    programs = at / "debian-trixie" / "usr" / "bin"
    programs.mkdir()
    (programs / "python3.13").touch(0o755)
    return at / "debian-trixie"


def test_a_release_that_nobody_knows_is_refused() -> None:
    with pytest.raises(PackageMissing, match=r"^there is no PYTHON_RELEASE=2\.7: 3\.13, or nothing"):
        pythons.get("2.7")


def test_who_is_not_root_is_told_so_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(debian, "VAR", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        PackageMissing, match=r"^only root can unpack Debian trixie .*without PYTHON_RELEASE=3\.13$"
    ):
        pythons.get("3.13")


def test_the_program_is_a_copy_that_names_the_loader_and_libraries_of_its_debian(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(debian, "VAR", tmp_path)
    root = unpacked(tmp_path)
    commands: list[tuple[str, ...]] = []

    def run(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="/lib64/loader.so.2\n", stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    program = pythons.get("3.13")
    assert os.access(program, os.X_OK)
    assert sorted(path.name for path in program.parent.iterdir()) == ["python3.13", program.name]
    _, libraries, loader, trial = commands
    assert libraries[:-1] == (
        *("chroot", str(root), "patchelf", "--force-rpath"),
        *("--set-rpath", f"{root}/usr/lib/machine-linux-gnu"),
    )
    assert loader[:-1] == ("chroot", str(root), "patchelf", "--set-interpreter", f"{root}/lib64/loader.so.2")
    assert trial[0] == str(root) + libraries[-1] == str(root) + loader[-1]
    assert (pythons.get("3.13"), len(commands)) == (program, 4), "it is made once"


def test_a_debian_whose_programs_do_not_run_is_told_of_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "VAR", tmp_path)
    unpacked(tmp_path)

    def run(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.CalledProcessError(127, command)

    monkeypatch.setattr(subprocess, "run", run)
    assert pythons.main(["3.13"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("a newer Python could not be made to run here: ")
