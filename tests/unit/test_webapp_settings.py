"""Absurd settings stop the start with the remedy; the page of settings is compared elsewhere."""

import pytest

from environment.errors import Misconfigured
from webapp.settings import http_settings, retention_settings


def test_the_defaults_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert http_settings().body_bytes == 4 * 1024 * 1024
    assert retention_settings().raw_segment_bytes * 2 <= retention_settings().raw_bytes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_HTTP_BODY_BYTES", "0"),
        ("SLUICE_HTTP_THREADS", "many"),
        ("SLUICE_HTTP_KEY_FRESH_S", "3600"),
        ("SLUICE_HTTP_PUBLISH_DEADLINE_S", "-1"),
        ("SLUICE_HTTP_CORS_ORIGIN", "https://a.example\r\nX: 1"),
    ],
)
def test_an_absurd_setting_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=name) as stopped:
        http_settings()
    assert "docs/settings.md" in str(stopped.value)


def test_retry_after_must_be_a_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HTTP_RETRY_AFTER_MIN_S", "9")
    with pytest.raises(Misconfigured, match="retry_after_min_s"):
        http_settings()


def test_the_metrics_port_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_HTTP_METRICS_BIND", "127.0.0.1:65536")
    with pytest.raises(Misconfigured, match="metrics_bind"):
        http_settings()


def test_a_stream_must_hold_two_segments_or_it_never_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_RETENTION_RAW_BYTES", "2000000")
    monkeypatch.setenv("SLUICE_RETENTION_RAW_SEGMENT_BYTES", "1500000")
    with pytest.raises(Misconfigured, match="two of its segments"):
        retention_settings()


def test_what_is_for_operators_is_reached_from_this_host_alone_unless_it_is_set_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SLUICE_HTTP_METRICS_BIND", raising=False)
    assert http_settings().metrics_bind.partition(":")[0] == "127.0.0.1"
