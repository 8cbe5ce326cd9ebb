"""Settings of the dispatcher and of the Celery workers."""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from environment.sources import Settings, understood
from environment.urls import check_broker

MIB = 1024 * 1024
ADDRESS = r"^$|^(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+):[0-9]{1,5}$"


class TaskSettings(Settings):
    """Read once by each entry point, from the environment (`SLUICE_TASK_…`).

    Raises environment.errors.Misconfigured when a value is absurd.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_TASK_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    broker_url: SecretStr = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672//"),
        validation_alias="BROKER_URL",
        description="AMQP 0.9.1 URL of the broker that carries the Celery messages",
    )
    queue_type: str = Field(
        "classic",
        pattern="^(classic|quorum)$",
        description="type of the customers' queues: classic or quorum",
    )
    window_batches: int = Field(500, gt=0, le=10_000, description="maximum batches in a window")
    window_bytes: int = Field(8 * MIB, gt=0, description="maximum bytes in a window, as sent by the agents")
    window_events: int = Field(
        100_000,
        gt=0,
        description="target number of events in a window, estimated from the customer's events per "
        "byte so far",
    )
    linger_ms: int = Field(
        50,
        ge=1,
        le=5_000,
        description="milliseconds that the dispatcher waits for more batches before it cuts a "
        "window; grows with the windows in flight, the busy customers and the batches a second",
    )
    linger_max_ms: int = Field(400, ge=1, le=60_000, description="upper limit of that wait, in milliseconds")
    windows_per_process: int = Field(
        3,
        gt=0,
        le=100,
        description="maximum windows in flight for each worker process, shared by the busy customers",
    )
    windows_in_flight: int = Field(
        32, gt=0, le=1_000, description="maximum windows in flight for one customer"
    )
    group_windows: int = Field(
        128,
        ge=1,
        le=200,
        description="maximum small windows of several customers that share one doorbell and one deposit; "
        "1: none do",
    )
    pending_batches: int = Field(
        4_096,
        gt=0,
        description="maximum batches of one customer that the dispatcher has read and not yet recorded",
    )
    stale_after_s: float = Field(
        30.0, gt=0, description="seconds without a deposit after which a window's chain is sent again"
    )
    lease_stale_s: float = Field(
        9.0,
        gt=0,
        le=60,
        description="seconds without a beat after which another dispatcher takes over a customer's lease",
    )
    tick_s: float = Field(
        2.0, gt=0, le=10, description="seconds between checks of customers, leases and stale windows"
    )
    prune_every_s: float = Field(60.0, gt=0, description="seconds between two rounds of pruning")
    decompressed_bytes: int = Field(64 * MIB, gt=0, description="maximum decompressed bytes of a batch")
    decompression_ratio: int = Field(
        1_000, gt=0, description="maximum ratio of decompressed to compressed bytes"
    )
    decoded_bytes: int = Field(
        256 * MIB,
        gt=0,
        le=2**31 - 1,
        description="maximum bytes of a window, unpacked: of its batches, of the tables made of them and of "
        "its results; above it the window is split in two",
    )
    handover_bytes: int = Field(
        8 * MIB,
        gt=0,
        description="maximum bytes that a window hands from one stage to the next; above it the "
        "window is split in two",
    )
    quarantine_daily_bytes: int = Field(
        256 * MIB,
        gt=0,
        description="maximum bytes kept in quarantine for a customer and day (UTC); bytes beyond "
        "it are in the raw stream only",
    )
    deposit_windows: int = Field(16, gt=0, le=1_000, description="maximum windows merged into one deposit")
    read_deadline_s: float = Field(20.0, gt=0, description="seconds a read from a stream may take")
    publish_deadline_s: float = Field(10.0, gt=0, description="seconds a publish may wait for its confirm")
    deliveries: int = Field(
        3,
        ge=2,
        le=100,
        description="deliveries that may end badly before a window is split in two; of a single "
        "batch: worker deaths before it is quarantined",
    )
    breaker_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of a customer's batches of the last minute; when more fail for one "
        "reason, the breaker opens",
    )
    breaker_batches: int = Field(
        20,
        gt=0,
        description="minimum number of batches that must fail for one reason before the breaker opens",
    )
    processor_limit_s: int = Field(
        60, gt=0, description="seconds of processor time after which a task's process is killed"
    )
    dispatcher_metrics_bind: str = Field(
        "127.0.0.1:9465",
        pattern=ADDRESS,
        description="address and port of a dispatcher's /metrics, /healthz and /readyz; port 0 for a free "
        "one, empty for none",
    )
    worker_metrics_bind: str = Field(
        "127.0.0.1:9466",
        pattern=ADDRESS,
        description="the same of a worker; each worker of a host needs one of its own",
    )
    measure_every_s: float = Field(
        5.0,
        ge=0.1,
        le=60,
        description="seconds between two looks of the dispatcher that measures all customers for the metrics",
    )
    owed_target_s: float = Field(
        10.0,
        gt=0,
        description="age of the oldest owed batch, in seconds, below which `sluice_workers_wanted` is to "
        "bring it",
    )
    metric_customers: int = Field(
        100,
        gt=0,
        le=10_000,
        description="maximum customers with metrics of their own in dispatchers and workers; all others are "
        "counted as `_other`",
    )
    task_time_limit_s: int = Field(300, gt=0, description="seconds after which a task's process is killed")

    @field_validator("broker_url")
    @classmethod
    def _url_is_understood(cls, url: SecretStr) -> SecretStr:
        understood(check_broker, url.get_secret_value())
        return url

    @field_validator("dispatcher_metrics_bind", "worker_metrics_bind")
    @classmethod
    def _the_port_exists(cls, address: str) -> str:
        if address and int(address.rpartition(":")[2]) > 65_535:
            raise ValueError("the port must be up to 65535")
        return address
