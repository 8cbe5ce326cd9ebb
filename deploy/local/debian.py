"""A newer Debian in a folder, for a package that is too old in this machine's; standard library only."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import install
from deploy.local.install import PackageMissing

VAR = Path(__file__).resolve().parents[2] / "var"
# Where a program in the folder sees the folder that it works in.
NODE = Path("/node")
# A debootstrap older than the suite has no script of that name; all scripts since bullseye do the same.
_SCRIPT = "sid"
_BUILD_TIMEOUT_S = 900
# Nothing of the mounts is left when the process ends, however it ends: no `rm -rf` can follow them.
_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private", "--")
_ENTER = (
    'root=$1 folder=$2; shift 2; mount --rbind /proc "$root/proc" && mount --rbind /dev "$root/dev"'
    ' && mount --bind "$folder" "$root/node" && exec chroot "$root" "$@"'
)


def root(suite: str) -> Path:
    """Where the suite lies, or would lie; kept between runs, until `make clean`."""
    return VAR / f"debian-{suite}"


def inside(root: Path, folder: Path, *command: str) -> list[str]:
    """The command in the Debian under `root`, where `folder` is NODE; its process becomes the command's."""
    return [*_OWN_MOUNTS, "/bin/sh", "-c", _ENTER, "sh", str(root), str(folder), *command]


def build(suite: str, packages: str, asked: str) -> Path:
    """Make sure that `root(suite)` holds the packages (`a,b`): takes a minute and 400 MB at the first time.

    `asked` is what the environment says to get them. One process builds, the others wait.
    Raises PackageMissing.
    """
    target = root(suite)
    if target.is_dir():
        return target
    if os.geteuid() != 0:
        raise PackageMissing(
            f"only root can unpack Debian {suite} into a folder: run as root, or without {asked}"
        )
    with _alone(VAR / "debootstrap"):
        install.ensure("debootstrap")
    with _alone(target):
        if not target.is_dir():
            _build(suite, packages, target)
    return target


def _build(suite: str, packages: str, target: Path) -> None:
    print(f"unpacking Debian {suite} with {packages} into {target}", file=sys.stderr, flush=True)
    unfinished = target.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [*_OWN_MOUNTS, "debootstrap", "--variant=minbase", f"--include={packages}"]
    try:
        done = subprocess.run(
            [*command, suite, str(unfinished), mirror(), _SCRIPT],
            check=False,
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise PackageMissing(
            f"Debian {suite} did not come from the mirror within {_BUILD_TIMEOUT_S} s"
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-400:]
        raise PackageMissing(f"Debian {suite} could not be unpacked with debootstrap: {said}")
    (unfinished / NODE.relative_to("/")).mkdir()
    shutil.copyfile("/etc/hosts", unfinished / "etc" / "hosts")
    shutil.rmtree(unfinished / "var" / "cache" / "apt", ignore_errors=True)
    unfinished.rename(target)


def mirror() -> str:
    """The archive that this machine's apt takes Debian from. Raises PackageMissing."""
    wanted = ["apt-get", "indextargets", "--format", "$(LABEL)\t$(REPO_URI)", "Created-By: Packages"]
    try:
        lines = subprocess.run(wanted, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        lines = ""
    for line in lines.splitlines():
        label, _, uri = line.partition("\t")
        # Before the first `apt-get update` there are no labels yet.
        if label == "Debian" or (not label and uri.rstrip("/").endswith("/debian")):
            return uri
    raise PackageMissing("apt knows no mirror of Debian: add one to /etc/apt/sources.list and try again")


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
