"""All checks of `flask doctor`, in the order in which they are printed."""

from webapp.doctor import broker, database, host, processes, settings
from webapp.doctor.findings import HealthCheck

_DATABASE, _TABLES, _BOTH = ("database",), ("database", "schema"), ("database", "schema", "broker")

CHECKS = (
    HealthCheck(name="settings", look=settings.settings),
    HealthCheck(name="database", look=database.database),
    HealthCheck(name="schema", look=database.schema, needs=_DATABASE),
    HealthCheck(name="durability", look=database.durability, needs=_DATABASE),
    HealthCheck(name="connections", look=database.connections, needs=_TABLES),
    HealthCheck(name="partitions", look=database.partitions, needs=_TABLES),
    HealthCheck(name="indexes", look=database.indexes, needs=_TABLES),
    HealthCheck(name="clocks", look=host.clocks, needs=_DATABASE),
    HealthCheck(name="broker", look=broker.broker),
    HealthCheck(name="streams", look=broker.streams, needs=_BOTH),
    HealthCheck(name="arguments", look=broker.arguments, needs=_BOTH),
    HealthCheck(name="orphans", look=broker.orphans, needs=_BOTH),
    HealthCheck(name="alarms", look=broker.alarms),
    HealthCheck(name="disk", look=host.disk),
    HealthCheck(name="file_descriptors", look=host.file_descriptors),
    HealthCheck(name="dispatchers", look=processes.dispatchers, needs=_TABLES),
    HealthCheck(name="workers", look=processes.workers, needs=_TABLES),
)
