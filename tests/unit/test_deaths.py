"""Which ends of a delivery are deaths, as a worker's parent hears of them."""

import pytest
from celery.exceptions import TimeLimitExceeded, WorkerLostError

import db.errors
from tasks.worker.failures import Failed, unforeseen_as_failed
from tasks.worker.requests import cause


def lost(how: str) -> WorkerLostError:
    return WorkerLostError(f"Worker exited prematurely: {how}")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (lost("signal 9 (SIGKILL) Job: 3."), "worker_died: signal 9 (SIGKILL)"),
        (lost("signal 11 (SIGSEGV)."), "worker_died: signal 11 (SIGSEGV)"),
        (lost("signal 27 (SIGPROF) Job: 3."), "time_limit: of the processor"),
        (lost("signal 15 (SIGTERM) Job: 3."), None),
        (lost("exitcode 15 Job: 3."), None),
        (TimeLimitExceeded(300), "time_limit: 300 s"),
        (Failed("KeyError"), "unexpected_error: KeyError"),
        (SystemExit(), None),
        (db.errors.DatabaseUnavailable("away"), None),
    ],
)
def test_a_death_is_what_the_content_may_have_done(error: BaseException, found: str | None) -> None:
    assert cause(error) == found


@pytest.mark.parametrize(
    "error",
    [db.errors.DatabaseUnavailable("away"), db.errors.LostRace("another"), OSError(28, "no space left")],
)
def test_external_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)), unforeseen_as_failed("decode", "(acme, window 1)"):
        raise error


@pytest.mark.parametrize("error", [KeyError("secret"), MemoryError("secret"), OSError("secret")])
def test_of_another_error_only_the_type_is_told(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Failed) as failed, unforeseen_as_failed("decode", "(acme, window 1)"):
        raise error
    assert failed.value.kind == type(error).__name__
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
    assert "secret" not in "".join(map(str, (failed.value, *capsys.readouterr())))
