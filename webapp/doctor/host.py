"""Checks of this host: clocks, disks, file descriptors."""

import resource
import shutil
import tempfile
import time
from pathlib import Path

import db.inspection
from environment.settings import run_folder
from webapp.doctor.broker import ASK
from webapp.doctor.examined import Examined
from webapp.doctor.findings import CheckOutcome, fail, ok, warn, worst

MIB = 1024 * 1024
CLOCKS_S = 2.0
"""By more than that do two clocks differ that are set by nobody. A header's time has whole seconds."""
_FULL, _NEARLY_FULL = 200 * MIB, 2048 * MIB
_BESIDES = 1_000
"""Descriptors that a receiver's process needs beside its connections."""


def clocks(examined: Examined) -> CheckOutcome:
    outcomes = []
    with examined.looked() as connection:
        before_s = time.time()
        theirs_s = db.inspection.clock_s(connection)
        ours_s = (before_s + time.time()) / 2
    if theirs_s is not None:
        outcomes.append(_compared("the database's", theirs_s - ours_s))
    if examined.management is not None:
        outcomes.append(_compared("the broker's", examined.management.clock_s() + 0.5 - time.time()))
    elif theirs_s is None:
        return ok(f"SQLite has this host's; the broker's: {ASK}")
    return worst(outcomes)


def disk(examined: Examined) -> CheckOutcome:
    file = db.inspection.file_of(examined.database)
    small = dict.fromkeys([Path(tempfile.gettempdir()), run_folder()])
    outcomes = [_free(folder, MIB, 16 * MIB) for folder in small]
    if file is not None:
        outcomes.append(_free(file.absolute().parent, _FULL, _NEARLY_FULL))
    return worst(outcomes)


def file_descriptors(examined: Examined) -> CheckOutcome:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = examined.http.connections + _BESIDES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return warn(
            f"a process may have {hard:,}, and a receiver's with all its connections needs {wanted:,}",
            "raise the limit of open files (ulimit -Hn, LimitNOFILE=), or lower SLUICE_HTTP_CONNECTIONS",
        )
    return ok("any number" if hard == resource.RLIM_INFINITY else f"a process may have {hard:,}")


def _compared(whose: str, ahead_s: float) -> CheckOutcome:
    if abs(ahead_s) <= CLOCKS_S:
        return ok(f"{whose} is this host's, give or take {CLOCKS_S:.0f} s")
    told = f"{whose} is {abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this host's"
    return warn(told, "set both by NTP (times are recorded by the database's)")


def _free(folder: Path, least: int, enough: int) -> CheckOutcome:
    """Sizes in bytes."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return fail(f"{folder}: {error.strerror}", "make the folder")
    told = f"{folder} has {free // MIB:,} MiB free"
    if free < least:
        return fail(told, "free some")
    return warn(told, "free some") if free < enough else ok(told)
