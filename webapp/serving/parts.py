"""What one process holds open."""

from dataclasses import dataclass

from sqlalchemy import Engine

from db.customers.public_keys import PublicKey
from db.customers.rows import Customer
from streams import Broker
from tracing import Tracer
from webapp.limits.address_counts import AddressCounts
from webapp.limits.admission import Limits
from webapp.limits.customer_meter import CustomerMeter
from webapp.limits.key_meter import KeyMeter
from webapp.limits.meters import Meters
from webapp.limits.public_keys import PublicKeyLimits
from webapp.metrics import CustomerCounts
from webapp.receiving.accept import BatchAcceptor
from webapp.receiving.keys import KeyCache
from webapp.serving.shutdown_flag import ShutdownFlag
from webapp.settings import HttpSettings

WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The application's parts, at `app.extensions["sluice"]`."""

    settings: HttpSettings
    engine: Engine
    broker: Broker
    keys: KeyCache[Customer]
    public_keys: KeyCache[PublicKey]
    meters: Meters[CustomerMeter]
    key_meters: Meters[KeyMeter]
    addresses: AddressCounts
    counts: CustomerCounts
    limits: Limits
    public_limits: PublicKeyLimits
    reception: BatchAcceptor
    shutdown: ShutdownFlag
    tracer: Tracer

    def warm(self) -> None:
        """Connect to the broker, so that the first batch does not wait for it; blocks for a moment."""
        self.broker.ready(WARM_UP_S)

    def accepting(self, timeout_s: float) -> bool:
        """Whether a batch could be accepted now; waits for the broker at most that long."""
        return self.broker.ready(timeout_s) and self.keys.usable()

    def close(self) -> None:
        """Close everything, in reverse order of need."""
        self.keys.close()
        self.public_keys.close()
        self.limits.close()
        self.public_limits.close()
        self.broker.close()
        self.engine.dispose()
        self.tracer.stop()
