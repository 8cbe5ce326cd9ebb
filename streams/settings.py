"""How this process talks to RabbitMQ streams; read once at each entry point."""

from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from environment.sources import Settings, understood
from environment.urls import check_broker
from streams.address import parse

MIB = 1024 * 1024
GIB = 1024 * MIB
DAY_S = 24 * 3600


class StreamSettings(Settings):
    """Environment: STREAM_URL, BROKER_URL, and SLUICE_STREAM_<FIELD> for everything else.

    Raises environment.errors.Misconfigured when a value is absurd.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_STREAM_",
        frozen=True,
        populate_by_name=True,
        extra="forbid",
        hide_input_in_errors=True,  # a URL holds a password
    )

    url: str = Field(
        "rabbitmq-stream://guest:guest@127.0.0.1:5552/%2f",
        validation_alias="STREAM_URL",
        repr=False,
        description="URL of the stream listener: "
        "rabbitmq-stream[+tls]://user:password@host:port/vhost; for a cluster, the "
        "URLs of all nodes, separated by semicolons.",
    )
    broker_url: str = Field(
        "amqp://guest:guest@127.0.0.1:5672//",
        validation_alias="BROKER_URL",
        repr=False,
        description="AMQP URL of the same broker; for a cluster, the URLs of all nodes, separated "
        "by semicolons. Used to read the arguments of declared streams.",
    )
    management_url: str | None = Field(
        None,
        validation_alias="MANAGEMENT_URL",
        repr=False,
        description="URL of the management plugin of the same broker, http[s]://user:password@host:15672; "
        "`flask doctor` and Flower use it.",
    )
    frame_max: int = Field(
        128 * MIB,
        ge=MIB,
        le=1024 * MIB,
        description="Largest frame offered to the broker, in bytes; the lower limit of client and "
        "broker applies.",
    )
    heartbeat_s: int = Field(
        10,
        ge=1,
        le=300,
        description="Heartbeat, in seconds. A connection that is silent for twice as long is reopened.",
    )
    connect_timeout_s: float = Field(
        5.0, gt=0, le=60, description="Longest time to connect and log in, in seconds."
    )
    backoff_min_s: float = Field(
        0.1, gt=0, le=10, description="Pause after the first failed connect, in seconds; doubles each time."
    )
    backoff_max_s: float = Field(
        5.0, gt=0, le=300, description="Longest pause between two attempts to connect, in seconds."
    )
    unconfirmed_bytes_per_stream: int = Field(
        8 * MIB,
        gt=0,
        description="Maximum unconfirmed bytes per stream and process; also limits the size of chunks.",
    )
    unconfirmed_bytes: int = Field(
        64 * MIB, gt=0, description="Maximum unconfirmed bytes per process, over all streams."
    )
    publish_frame_bytes: int = Field(
        MIB,
        ge=1024,
        description="Maximum size of a Publish frame, in bytes; a larger message is sent in a "
        "frame of its own.",
    )

    @field_validator("url")
    @classmethod
    def _url_is_understood(cls, url: str) -> str:
        return understood(parse, url)

    @field_validator("broker_url")
    @classmethod
    def _broker_url_is_understood(cls, url: str) -> str:
        return understood(check_broker, url)

    @model_validator(mode="after")
    def _bounds_fit_each_other(self) -> "StreamSettings":
        if self.backoff_min_s > self.backoff_max_s:
            raise ValueError("backoff_min_s is above backoff_max_s; lower it or raise the other")
        if self.unconfirmed_bytes_per_stream > self.unconfirmed_bytes:
            raise ValueError(
                "unconfirmed_bytes_per_stream is above unconfirmed_bytes; lower it or raise the other"
            )
        return self


class RetentionSettings(Settings):
    """How much a customer's streams keep, fixed when they are created (SLUICE_RETENTION_*)."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_RETENTION_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    raw_bytes: int = Field(
        10 * GIB, ge=MIB, description="bytes of a raw stream before its oldest segment goes"
    )
    raw_age_s: int = Field(7 * DAY_S, gt=0, description="seconds that a raw stream keeps a segment")
    raw_segment_bytes: int = Field(
        128 * MIB, ge=MIB, le=3 * GIB, description="bytes of a raw stream's segment"
    )
    processed_bytes: int = Field(
        4 * GIB, ge=MIB, description="bytes of a processed stream before its oldest segment goes"
    )
    processed_age_s: int = Field(
        7 * DAY_S, gt=0, description="seconds that a processed stream keeps a segment"
    )
    processed_segment_bytes: int = Field(
        128 * MIB, ge=MIB, le=3 * GIB, description="bytes of a processed stream's segment"
    )

    @model_validator(mode="after")
    def _segments_fit(self) -> Self:
        # Retention removes whole closed segments: a stream of one segment would never shrink.
        if (
            self.raw_segment_bytes * 2 > self.raw_bytes
            or self.processed_segment_bytes * 2 > self.processed_bytes
        ):
            raise ValueError("a stream's bytes must hold at least two of its segments")
        return self
