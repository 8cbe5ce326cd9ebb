"""A newer Python than this machine's, out of a newer Debian in a folder, to run the tests on.

`python3 -m deploy.local.pythons 3.13` makes sure that it is there and prints its path; standard library only.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local import debian
from deploy.local.install import PackageMissing

# The first suite of Debian that carries the release.
SUITES = {"3.13": "trixie"}
_TIMEOUT_S = 60


def get(release: str) -> Path:
    """The program that runs outside of its Debian, as a process like any other. Raises PackageMissing.

    It names the loader and the C library that it was unpacked with, and what it starts finds this machine's.
    It goes with the folder: a clone that moves needs `make clean`.
    """
    suite = SUITES.get(release)
    if suite is None:
        known = ", ".join(SUITES)
        raise PackageMissing(f"there is no PYTHON_RELEASE={release}: {known}, or nothing for .venv's Python")
    asked = f"PYTHON_RELEASE={release}"
    root = debian.build(suite, f"python{release},patchelf", asked)
    found = root / "usr" / "bin" / f"python{release}-outside"
    if not found.exists():
        _patch(root, f"python{release}", found)
    return found


def _patch(root: Path, program: str, target: Path) -> None:
    """Write `target`, a copy of the program that finds its loader and its libraries below `root`."""
    libraries = next(root.glob("usr/lib/*/libc.so.6"), None)
    if libraries is None:
        raise PackageMissing(f"there is no C library in {root}: delete that folder and try again")
    patchelf = ("chroot", str(root), "patchelf")
    loader = root / _said(*patchelf, "--print-interpreter", f"/usr/bin/{program}").lstrip("/")
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.copy(root / "usr" / "bin" / program, unfinished)
    # Both in one command, or the loader first, make patchelf 0.18 write a program that crashes.
    _said(*patchelf, "--force-rpath", "--set-rpath", str(libraries.parent), f"/usr/bin/{unfinished.name}")
    _said(*patchelf, "--set-interpreter", str(loader), f"/usr/bin/{unfinished.name}")
    _said(str(unfinished), "-c", "import ssl, sqlite3, venv")
    unfinished.rename(target)


def _said(*command: str) -> str:
    """What the command prints. Raises PackageMissing when it fails."""
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as problem:
        raise PackageMissing(f"a newer Python could not be made to run here: {problem}") from problem
    return done.stdout.strip()


def main(releases: list[str]) -> int:
    try:
        for release in releases:
            print(get(release))
    except PackageMissing as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
