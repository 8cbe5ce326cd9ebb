"""Settings of the database, read once at each entry point."""

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from environment.sources import Settings, understood
from environment.urls import check_database


class DatabaseSettings(Settings):
    """Where the database is and how long a call may wait for it.

    Raises environment.errors.Misconfigured when a value is absurd.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_DB_",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    url: str = Field(
        default="sqlite:///var/sluice.db",
        validation_alias="DATABASE_URL",
        repr=False,
        min_length=1,
        description="SQLAlchemy URL of the database, sqlite:///path or postgresql://user:password@host/name",
    )
    pool_size: int = Field(default=5, gt=0, le=200, description="connections that each process keeps open")
    pool_wait_s: float = Field(
        default=5, gt=0, le=600, description="longest wait for a free connection, seconds"
    )
    connect_timeout_s: int = Field(
        default=5, gt=1, le=600, description="longest wait for a new connection, seconds"
    )
    statement_timeout_s: float = Field(
        default=30, gt=0, le=3600, description="longest time of one statement, seconds"
    )
    lock_timeout_s: float = Field(
        default=10, gt=0, le=3600, description="longest wait for a row or table lock, seconds"
    )
    sqlite_busy_timeout_s: float = Field(
        default=10, gt=0, le=600, description="longest wait for SQLite's lock, seconds"
    )
    remember_days: int = Field(
        default=7,
        gt=0,
        le=365,
        description="days that batch ids are remembered, counted back from the newest dispatched batch",
    )
    windows_days: int = Field(
        default=30, gt=0, le=3650, description="how long windows are kept after their deposit, days"
    )
    quarantine_days: int = Field(
        default=90, gt=0, le=3650, description="how long quarantined rows are kept, days"
    )

    @field_validator("url")
    @classmethod
    def _url_is_understood(cls, url: str) -> str:
        return understood(check_database, url)
