"""System packages: used when there, installed with apt-get when root, else named in one sentence.

`python3 -m deploy.local.install PACKAGE…` runs before there is a venv: standard library only.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Written by Sluice for the time of one apt-get: start no service.\nexit 101\n"
# Debian's packages enable a service of the same name, or this one, for the next boot.
_SERVICES = ("rabbitmq-server", "postgresql", "nginx", "haproxy", "prometheus")
# Held while apt-get runs: two at once would take the policy from each other.
_LOCK = Path("/run/lock/sluice-apt-get")
# Debian's wrapper in /usr/sbin insists on the user rabbitmq; the script that it calls does not.
_RABBITMQ = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server")


class PackageMissing(RuntimeError):
    """A system package is not there and may not be installed by us."""


def rabbitmq_server() -> str | None:
    """The script that starts a node."""
    return next((path for path in _RABBITMQ if os.access(path, os.X_OK)), None)


def postgresql_programs() -> Path | None:
    """The folder of initdb and postgres: Debian keeps one a version, outside of PATH."""
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if versions:
        return max(versions, key=lambda path: int(path.parent.name))
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def nginx() -> str | None:
    """The program; Debian keeps it where only root's PATH looks."""
    return _of_root("nginx")


def haproxy() -> str | None:
    """The program; it is where nginx is."""
    return _of_root("haproxy")


def prometheus() -> str | None:
    """The server."""
    return shutil.which("prometheus")


def promtool() -> str | None:
    """What checks and tests its rules; in the same package."""
    return shutil.which("promtool")


def _of_root(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin")


def _ensurepip() -> bool:
    importlib.invalidate_caches()
    return importlib.util.find_spec("ensurepip") is not None


_PRESENT: dict[str, Callable[[], bool]] = {
    "rabbitmq-server": lambda: rabbitmq_server() is not None,
    "postgresql": lambda: postgresql_programs() is not None,
    "nginx": lambda: nginx() is not None,
    "prometheus": lambda: prometheus() is not None and promtool() is not None,
    "chromium": lambda: shutil.which("chromium") is not None,
    "nodejs": lambda: shutil.which("node") is not None,
    "npm": lambda: shutil.which("npm") is not None,
    "systemd": lambda: shutil.which("systemd-analyze") is not None,
    "haproxy": lambda: haproxy() is not None,
    "curl": lambda: shutil.which("curl") is not None,
    "debootstrap": lambda: shutil.which("debootstrap") is not None,
    "python3-venv": _ensurepip,
}


def ensure(package: str) -> None:
    """Make sure that a Debian package's programs are there. Starts no service of its own.

    Raises PackageMissing.
    """
    present = _PRESENT[package]
    if present():
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise PackageMissing(
            f"{package} is missing: install it (Debian: `sudo apt-get install {package}`) and try again"
        )
    print(f"installing {package} with apt-get", file=sys.stderr, flush=True)
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if present():
            return
        with _no_service_starts():
            _apt_get("update")
            _apt_get("install", "--yes", "--no-install-recommends", package)
    if package in _SERVICES and shutil.which("update-rc.d"):
        # Nobody asked for a second server that starts with the machine.
        subprocess.run(["update-rc.d", package, "disable"], check=False, capture_output=True)
    if not present():
        raise PackageMissing(
            f"{package} was installed with apt-get, yet its programs are not where Debian puts them"
        )


def _apt_get(*arguments: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "--quiet", *arguments], env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise PackageMissing(f"`apt-get {' '.join(arguments)}` failed: {done.stderr.strip()[-400:]}")


@contextmanager
def _no_service_starts() -> Iterator[None]:
    # Ours may be left of a run that was killed; an administrator's own policy is not touched.
    ours = not _POLICY.exists() or _POLICY.read_text() == _POLICY_TEXT
    if ours:
        _POLICY.write_text(_POLICY_TEXT)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)


def main(packages: list[str]) -> int:
    try:
        for package in packages:
            ensure(package)
    except PackageMissing as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
