"""What a check found, and running checks so that none can hold up or end the others."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from db.errors import DatabaseUnavailable
from environment.errors import Misconfigured
from streams.errors import BrokerUnavailable
from webapp.doctor.examined import Examined

DEADLINE_S = 25.0
"""Seconds for one check: longer than two beats of the slowest process, for which it waits."""
_NAMED = 5


class CheckVerdict(StrEnum):
    """`WARN`: it works, and may not do so for long, or could not be looked at. `FAIL`: it does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


class CheckOutcome(NamedTuple):
    """What a check says: its verdict, what was found, and what to do about it."""

    verdict: CheckVerdict
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """One line of `flask doctor`. It is not run when one of those that it `needs` failed."""

    name: str
    look: Callable[[Examined], CheckOutcome]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A check's name and its outcome."""

    check: str
    verdict: CheckVerdict
    found: str
    remedy: str


def ok(found: str) -> CheckOutcome:
    return CheckOutcome(CheckVerdict.OK, found)


def warn(found: str, remedy: str) -> CheckOutcome:
    return CheckOutcome(CheckVerdict.WARN, found, remedy)


def fail(found: str, remedy: str) -> CheckOutcome:
    return CheckOutcome(CheckVerdict.FAIL, found, remedy)


def worst(outcomes: Sequence[CheckOutcome]) -> CheckOutcome:
    """One outcome in place of several: the worst verdict, and what those say that have it."""
    verdicts = {outcome.verdict for outcome in outcomes}
    verdict = next(one for one in (CheckVerdict.FAIL, CheckVerdict.WARN, CheckVerdict.OK) if one in verdicts)
    of_it = [outcome for outcome in outcomes if outcome.verdict is verdict]
    remedies = dict.fromkeys(outcome.remedy for outcome in of_it if outcome.remedy)
    return CheckOutcome(verdict, "; ".join(outcome.found for outcome in of_it), "; ".join(remedies))


def named(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def findings(
    checks: Sequence[HealthCheck], examined: Examined, *, deadline_s: float = DEADLINE_S
) -> list[Finding]:
    """Run all checks and return what they found, in their order.

    Those that need nothing run at once, then those that need them, and so on: each such round takes the
    deadline at most. A check that is not done by then goes on in a thread that the process does not wait for.
    """
    found: dict[str, CheckOutcome] = {}
    while due := [one for one in checks if one.name not in found and found.keys() >= set(one.needs)]:
        skipped = {one.name: skip for one in due if (skip := _skipped(one, found)) is not None}
        found |= skipped | _run([one for one in due if one.name not in skipped], examined, deadline_s)
    return [Finding(check=check.name, **found[check.name]._asdict()) for check in checks]


def _skipped(check: HealthCheck, found: Mapping[str, CheckOutcome]) -> CheckOutcome | None:
    failed = [name for name in check.needs if found[name].verdict is CheckVerdict.FAIL]
    if not failed:
        return None
    return warn(f"not looked at, because the check `{failed[0]}` failed", f"mend `{failed[0]}` first")


def _run(checks: Sequence[HealthCheck], examined: Examined, deadline_s: float) -> dict[str, CheckOutcome]:
    done: queue.SimpleQueue[tuple[str, CheckOutcome]] = queue.SimpleQueue()
    for check in checks:
        threading.Thread(
            target=lambda check=check: done.put((check.name, _looked(check, examined))), daemon=True
        ).start()
    until, found = time.monotonic() + deadline_s, dict[str, CheckOutcome]()
    while len(found) < len(checks):
        try:
            name, outcome = done.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        found[name] = outcome
    late = fail(f"no answer within {deadline_s:.0f} s", "look whether the server hangs, then try again")
    return {check.name: found.get(check.name, late) for check in checks}


def _looked(check: HealthCheck, examined: Examined) -> CheckOutcome:
    try:
        return check.look(examined)
    except DatabaseUnavailable as error:
        return fail(f"the database is away: {error}", "start it, or change DATABASE_URL")
    except BrokerUnavailable as error:
        return fail(f"the broker is away: {error}", "start it, or change BROKER_URL, STREAM_URL")
    except Misconfigured as error:
        return fail(str(error), "docs/settings.md says what the settings mean")
    except Exception as error:  # a check of ours that is wrong must not hide what the others find
        return fail(f"the check itself failed: {type(error).__name__}", "report this as a fault of Sluice")
