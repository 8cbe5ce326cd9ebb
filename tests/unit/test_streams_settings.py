"""Settings that make no sense stop the start, with the remedy and without the password."""

import pytest

from environment.errors import Misconfigured
from streams import StreamSettings
from streams.address import parse
from streams.errors import BrokerMisconfigured


def test_a_url_is_taken_apart() -> None:
    address = parse("rabbitmq-stream+tls://us%40er:p%2Fw@broker.example/a%2Fb")
    assert address.nodes == (("broker.example", 5551),)
    assert (address.user, address.password, address.vhost, address.tls) == ("us@er", "p/w", "a/b", True)
    assert parse("rabbitmq-stream://h/%2f").vhost == parse("rabbitmq-stream://h").vhost == "/"
    assert "p/w" not in repr(address)


@pytest.mark.parametrize(
    "url", ["amqp://h/", "rabbitmq-stream://", "h:5552", "rabbitmq-stream://u:secret@h:port/", ""]
)
def test_a_url_of_another_kind_is_refused_with_the_expected_form(url: str) -> None:
    with pytest.raises(BrokerMisconfigured, match="expected rabbitmq-stream") as refusal:
        parse(url)
    assert "secret" not in str(refusal.value)


def test_a_cluster_is_the_urls_of_its_nodes() -> None:
    address = parse("rabbitmq-stream://u:p@a/v;rabbitmq-stream://u:p@b:1/v;rabbitmq-stream://u:p@a:5552/v")
    assert address.nodes == (("a", 5552), ("b", 1))
    assert (address.user, address.password, address.vhost, address.tls) == ("u", "p", "v", False)


@pytest.mark.parametrize(
    "other",
    ["://u:secret@b/w", "://v:secret@b/v", "://u:other@b/v", "+tls://u:secret@b/v"],
)
def test_urls_of_different_clusters_are_refused(other: str) -> None:
    with pytest.raises(BrokerMisconfigured, match="name one cluster") as refusal:
        parse(f"rabbitmq-stream://u:secret@a/v;rabbitmq-stream{other}")
    assert "secret" not in str(refusal.value)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_URL", "rabbitmq-stream://u:secret@h:1/v")
    monkeypatch.setenv("BROKER_URL", "amqp://u:secret@h:2/v")
    monkeypatch.setenv("SLUICE_STREAM_HEARTBEAT_S", "7")
    settings = StreamSettings()
    assert (settings.url, settings.broker_url) == (
        "rabbitmq-stream://u:secret@h:1/v",
        "amqp://u:secret@h:2/v",
    )
    assert settings.heartbeat_s == 7
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frame_max", 1000),
        ("heartbeat_s", 0),
        ("connect_timeout_s", 0),
        ("unconfirmed_bytes_per_stream", 0),
        ("unconfirmed_bytes", 1),
        ("backoff_min_s", 9.0),
        ("url", "amqp://guest:secret@h/"),
    ],
)
def test_an_absurd_setting_stops_the_start(field: str, value: object) -> None:
    with pytest.raises(Misconfigured) as refusal:
        StreamSettings(**{field: value})  # type: ignore[arg-type] # that is the point
    assert "secret" not in str(refusal.value)
