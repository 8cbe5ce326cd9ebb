"""Builds the application: every part is made here and handed to those that need it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from flask import Flask
from sqlalchemy import Engine

from db.clock import now_us
from db.customers import keys as key_table, public_key_use, public_keys as public_key_table, quota_use
from db.customers.public_keys import PublicKey
from db.customers.rows import Customer
from db.engine import connect, read, watch
from db.settings import DatabaseSettings
from environment import starting
from streams import Broker, StreamSettings
from tracing import Tracer
from webapp import commands, logs
from webapp.limits.address_counts import AddressCounts
from webapp.limits.admission import Limits
from webapp.limits.customer_meter import CustomerMeter
from webapp.limits.day_sync import DaySync
from webapp.limits.key_meter import KeyMeter
from webapp.limits.meters import Meters
from webapp.limits.public_keys import PublicKeyLimits
from webapp.metrics import DATABASE_WAIT_SECONDS, RECONNECTS, CustomerCounts
from webapp.receiving import batches, cors, error_handlers, otlp, own_traces
from webapp.receiving.accept import BatchAcceptor
from webapp.receiving.authentication import Authenticator
from webapp.receiving.keys import PUBLIC_FORM, SECRET_FORM, Find, KeyCache
from webapp.serving import health
from webapp.serving.parts import Parts
from webapp.serving.shutdown_flag import ShutdownFlag
from webapp.settings import CommandSettings, HttpSettings, http_settings
from webapp.terminal.building import building


def _finder(engine: Engine, limits: Limits) -> Find[Customer]:
    def find(digests: Sequence[bytes]) -> dict[bytes, Customer]:
        with read(engine) as connection:
            found = key_table.find_all(connection, digests)
            limits.learn(connection, found.values())
            return found

    return find


def _public_finder(engine: Engine, limits: Limits, public_limits: PublicKeyLimits) -> Find[PublicKey]:
    def find(digests: Sequence[bytes]) -> dict[bytes, PublicKey]:
        with read(engine) as connection:
            found = public_key_table.find_all(connection, digests)
            limits.learn(connection, {key.customer.id: key.customer for key in found.values()}.values())
            public_limits.learn(connection, found.values())
            return found

    return find


def build(settings: HttpSettings | None = None, shutdown: ShutdownFlag | None = None) -> Flask:
    """The application; connects to nothing yet. Raises environment.errors.Misconfigured."""
    with building():
        starting.check()
        CommandSettings()
        return _built(settings or http_settings(), shutdown or ShutdownFlag())


def _built(settings: HttpSettings, shutdown: ShutdownFlag) -> Flask:
    logs.configure()
    engine = connect(DatabaseSettings())
    watch(engine, DATABASE_WAIT_SECONDS.observe, lambda: RECONNECTS.labels("database").inc())
    # A worker of gunicorn's follows its master's meters and never uses these.
    meters, key_meters = Meters(CustomerMeter, lanes=1), Meters(KeyMeter, lanes=1)
    counts = CustomerCounts(settings.metric_customers)
    later_s = (settings.retry_after_min_s, settings.retry_after_max_s)
    usage = DaySync(engine, meters, quota_use.written, quota_use.write)
    limits = Limits(meters, usage, counts, receivers=settings.receivers, later_s=later_s)
    key_usage = DaySync(engine, key_meters, public_key_use.written, public_key_use.write)
    addresses = AddressCounts()
    public_limits = PublicKeyLimits(key_meters, addresses, key_usage, counts, later_s=later_s)
    bounds: dict[str, Any] = {
        "fresh_s": settings.key_fresh_s,
        "wait_s": settings.key_wait_s,
        "known": settings.keys_known,
        "unknown": settings.keys_unknown,
    }
    keys = KeyCache(_finder(engine, limits), current=limits.learned, form=SECRET_FORM, **bounds)
    public_keys = KeyCache(
        _public_finder(engine, limits, public_limits),
        current=lambda key: limits.learned(key.customer) and public_limits.learned(key),
        form=PUBLIC_FORM,
        **bounds,
    )
    ledgers_now = partial(now_us, engine)
    senders = Authenticator(keys, public_keys, public_limits, ledgers_now, proxies=settings.proxies)
    broker = Broker(StreamSettings(), reconnected=lambda: RECONNECTS.labels("streams").inc())
    reception = BatchAcceptor(settings, senders, limits, public_limits, broker, counts, ledgers_now)
    parts = Parts(
        settings=settings,
        engine=engine,
        broker=broker,
        keys=keys,
        public_keys=public_keys,
        meters=meters,
        key_meters=key_meters,
        addresses=addresses,
        counts=counts,
        limits=limits,
        public_limits=public_limits,
        reception=reception,
        shutdown=shutdown,
        tracer=Tracer("receiver"),
    )
    # No static files and no session: both cost every request something.
    app = Flask("webapp", static_folder=None)
    # A path with two slashes is another path, and no reason to send an agent to where Host says.
    app.url_map.merge_slashes = False
    app.extensions["sluice"] = parts
    app.register_blueprint(batches.blueprint(reception))
    app.register_blueprint(otlp.blueprint(reception))
    app.register_blueprint(health.blueprint(broker, keys, parts.shutdown))
    error_handlers.register(app)
    cors.register(app, settings.cors_origin)
    own_traces.register(app, parts.tracer)
    commands.register(app)
    return app
