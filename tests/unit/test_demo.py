"""The demo agents send traffic of now in every format, share the rate, and end when told."""

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from deploy.local.demo import MIX, batch_of, main, plans, read_customers
from tests.scripted import scripted
from tests.whole import ROOT, until


def _keys(folder: Path, *slugs: str) -> Path:
    for slug in slugs:
        (folder / slug).write_text(f"sl_{slug}_key\n")
    return folder


def test_each_customer_sends_half_of_what_the_one_before_sends(tmp_path: Path) -> None:
    customers = read_customers(_keys(tmp_path, "demo-b", "demo-a", ".demo-c.123"), 3_000)
    assert [(one.slug, one.key, one.events_per_s) for one in customers] == [
        ("demo-a", "sl_demo-a_key", 2_000),
        ("demo-b", "sl_demo-b_key", 1_000),
    ]


def test_spans_are_of_now_and_of_the_rate() -> None:
    sent = list(plans(1_000, 100, 10))
    assert sum(plan.spans.num_rows for plan in sent) == pytest.approx(10_000, abs=2_000)
    started = [moment.timestamp() for plan in sent for moment in plan.spans["started_at"].to_pylist()]
    assert all(abs(moment - time.time()) < 120 for moment in started)


def test_every_format_and_encoding_of_the_mix_comes() -> None:
    said = Counter((plan.form, plan.encoding) for plan in plans(10_000, 20, 1.0))
    assert set(said) == {(form, encoding) for form, encoding, _ in MIX}


def test_no_two_batches_share_an_id() -> None:
    [plan, *_] = plans(1_000, 100, 1.0)
    assert batch_of(plan).batch_id != batch_of(plan).batch_id


def test_a_folder_without_keys_is_said_and_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--url", "http://127.0.0.1:1", "--keys", str(tmp_path)]) == 2
    assert "flask customers add" in capsys.readouterr().err


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_agents_send_for_all_customers_and_end_when_told(tmp_path: Path, signum: signal.Signals) -> None:
    keys = _keys(tmp_path, "demo-a", "demo-b")
    with scripted() as receiver:
        command = ["-m", "deploy.local.demo", "--url", receiver.url, "--keys", str(keys), "--rate", "5000"]
        with subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as demo:
            try:
                until(
                    lambda: len({headers["Authorization"] for _, _, headers, _ in receiver.came}) == 2, "both"
                )
                until(lambda: len({path for _, path, _, _ in receiver.came}) == 2, "batches and traces")
                demo.send_signal(signum)
                said, _ = demo.communicate(timeout=60)
            finally:
                demo.kill()
    assert demo.returncode == 0
    assert "demo-a: " in said


def test_the_agents_end_although_the_receiver_refuses_for_now(tmp_path: Path) -> None:
    keys = _keys(tmp_path, "demo-a")
    with scripted((503, {"Retry-After": "60"})) as receiver:
        command = ["-m", "deploy.local.demo", "--url", receiver.url, "--keys", str(keys)]
        with subprocess.Popen([sys.executable, *command], cwd=ROOT) as demo:
            try:
                until(lambda: receiver.came, "a first batch")
                demo.terminate()
                assert demo.wait(60) == 0
            finally:
                demo.kill()
