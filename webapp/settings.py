"""Settings of the receiver and of the streams that `flask customers add` creates."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from environment.sources import Settings
from streams.settings import RetentionSettings

MIB = 1024 * 1024
GIB = 1024 * MIB


class HttpSettings(Settings):
    """How the receiver listens, what it lets in, and how long it waits (SLUICE_HTTP_*)."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_HTTP_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    bind: str = Field("127.0.0.1:8080", description="address and port that gunicorn listens on")
    workers: int = Field(2, gt=0, le=256, description="gunicorn worker processes")
    pin: bool = Field(True, description="pin each worker process to one processor core")
    nice: int = Field(
        5,
        ge=0,
        le=19,
        description="niceness of the worker processes, so that processing accepted batches comes first",
    )
    threads: int = Field(
        4,
        gt=0,
        le=1024,
        description="threads per worker for requests that wait for servers: `/readyz`",
    )
    connections: int = Field(
        10_000, gt=0, le=100_000, description="maximum connections per worker, including idle ones"
    )
    keepalive_s: int = Field(75, gt=0, le=3600, description="seconds that an idle connection is kept open")
    drain_s: float = Field(
        2.0, ge=0, le=600, description="seconds between readiness turning false and the listener closing"
    )
    graceful_s: int = Field(
        30, gt=0, le=600, description="seconds that running requests get to finish at shutdown"
    )
    body_bytes: int = Field(4 * MIB, gt=0, le=64 * MIB, description="largest body as sent, in bytes")
    body_deadline_s: float = Field(
        30.0, gt=0, le=600, description="seconds within which the whole body must arrive"
    )
    body_rate: int = Field(
        500,
        ge=0,
        le=1_000_000,
        description="minimum bytes per second of a body that takes longer than 10 s; 0 switches "
        "the check off",
    )
    bodies_bytes: int = Field(
        64 * MIB,
        gt=0,
        le=64 * GIB,
        description="maximum bytes per worker of bodies that are being received or wait for a confirm",
    )
    publish_deadline_s: float = Field(
        5.0, gt=0, le=60, description="seconds to wait for the broker's confirm"
    )
    retry_after_min_s: int = Field(1, gt=0, le=3600, description="minimum of Retry-After, in seconds")
    retry_after_max_s: int = Field(5, gt=0, le=3600, description="maximum of Retry-After, in seconds")
    key_fresh_s: float = Field(
        10.0, gt=0, le=10, description="seconds after which a cached key is looked up again"
    )
    key_wait_s: float = Field(
        1.0, gt=0, le=30, description="maximum seconds that a request waits for the look-up of its key"
    )
    keys_known: int = Field(20_000, gt=0, description="maximum valid keys cached by each worker")
    keys_unknown: int = Field(20_000, gt=0, description="maximum refused keys cached by each worker")
    receivers: int = Field(
        1,
        gt=0,
        le=1000,
        description="number of receivers that share the customers; each admits its share of the rate limits",
    )
    proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="number of proxies in front that add an address to X-Forwarded-For",
    )
    cors_origin: str = Field(
        "*",
        pattern=r"^[!-~]*$",
        description="origin from which browsers may post; * for any, empty for none",
    )
    metrics_bind: str = Field(
        "127.0.0.1:9464",
        pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):[0-9]{1,5}$",
        description="address and port of the operators' endpoints; agents must not be able to reach it",
    )
    metric_customers: int = Field(
        100,
        gt=0,
        le=10_000,
        description="maximum customers with metrics of their own; all others are counted as `other`",
    )

    @model_validator(mode="after")
    def _retry_after_in_order(self) -> Self:
        if self.retry_after_min_s > self.retry_after_max_s:
            raise ValueError("retry_after_min_s must not be above retry_after_max_s")
        return self

    @model_validator(mode="after")
    def _the_metrics_port_exists(self) -> Self:
        if int(self.metrics_bind.rpartition(":")[2]) > 65_535:
            raise ValueError("metrics_bind must name a port up to 65535")
        return self

    @model_validator(mode="after")
    def _a_body_has_room(self) -> Self:
        if self.bodies_bytes < self.body_bytes:
            raise ValueError("bodies_bytes must not be below body_bytes: the largest body would not fit")
        return self


class CommandSettings(Settings):
    """How the `flask` commands end (SLUICE_COMMAND_*)."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_COMMAND_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    traceback: bool = Field(
        False, description="print the traceback of an unforeseen error (exit code 7) before its sentence"
    )


def http_settings() -> HttpSettings:
    """The receiver's settings from the environment. Raises environment.errors.Misconfigured."""
    return HttpSettings()


def retention_settings() -> RetentionSettings:
    """The streams' retention from the environment. Raises environment.errors.Misconfigured."""
    return RetentionSettings()
