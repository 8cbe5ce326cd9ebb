"""What the pages need: Chromium, and a script of the OpenTelemetry SDK, made of packages that are pinned.

`python -m tests.browsers.setup` gets both, and says what could not be had.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.local import install

PAGES = Path(__file__).resolve().parent / "pages"
MADE = PAGES.parents[2] / "var" / "browsers"
PINS = ("package.json", "package-lock.json", "sdk.js")
SCRIPT = "sdk.bundle.js"
DEADLINE_S = 180


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where pages come from: `shop` is the origin that keys are for, `other` is one that they are not for."""

    shop: str
    other: str


def chromium() -> str:
    """The program. Raises PackageMissing."""
    install.ensure("chromium")
    return shutil.which("chromium") or "chromium"


def script() -> Path:
    """The bundle, made when what it is made of has changed. Raises PackageMissing."""
    install.ensure("nodejs")
    install.ensure("npm")
    checksum = hashlib.sha256(b"".join((PAGES / name).read_bytes() for name in PINS)).hexdigest()
    folder = MADE / checksum[:16]
    MADE.mkdir(parents=True, exist_ok=True)
    with (MADE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / SCRIPT).exists():
            for old in MADE.glob("*/"):
                shutil.rmtree(old)
            folder.mkdir()
            for name in PINS:
                shutil.copyfile(PAGES / name, folder / name)
            # It installs what the lock file has, and compares each package with the checksum there.
            _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", at=folder)
            bundled = folder / "unfinished.js"
            _run(
                *(str(folder / "node_modules" / ".bin" / "esbuild"), "sdk.js", "--bundle", "--format=iife"),
                *("--log-level=error", f"--outfile={bundled}"),
                at=folder,
            )
            bundled.rename(folder / SCRIPT)
    return folder / SCRIPT


def _run(*command: str, at: Path) -> None:
    try:
        subprocess.run(command, cwd=at, check=True, capture_output=True, text=True, timeout=DEADLINE_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or "").strip()[-400:]
        raise install.PackageMissing(f"`{' '.join(command)}` failed: {error} {said}") from error


def main() -> int:
    """1 when something could not be had."""
    try:
        chromium()
        script()
    except install.PackageMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
