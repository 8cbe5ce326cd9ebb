"""The libraries' modules that `private_names` is about, and what to do about a change in one."""

import re
from dataclasses import dataclass

# By the short word that stands for a module, or a class, in the list.
MODULES = {
    "arbiter": ("gunicorn.arbiter", "Find where the master keeps it now, and who handles its signals."),
    "base": ("gunicorn.workers.base", "Find where workers keep it now, or what is called in its place."),
    "chunks": (
        "gunicorn.http.body",
        "Accept the chunk extensions that ChunkedReader accepts now, no others.",
    ),
    "config": ("gunicorn.config", "Ask for certfile and keyfile, which are documented."),
    "glogging": (
        "gunicorn.glogging",
        "Give the handlers of gunicorn's lines our form where they are made now.",
    ),
    "sslproto": ("asyncio.sslproto", "Bound the memory of an idle TLS connection another way."),
    "sock": ("gunicorn.sock", "Make the context of the certificates that are set another way."),
    "workertmp": ("gunicorn.workers.workertmp", "Find where the master sees a worker's last turn now."),
    "Client": (
        "rstream.client.Client",
        "Log in, ask and wait as rstream.client does now, over our own transport.",
    ),
    "constants": ("rstream.constants", "Import OffsetType from rstream, which documents it."),
    "encoding": ("rstream.encoding", "Write and read frames as rstream.client does now."),
    "exceptions": ("rstream.exceptions", "Keep the codes here; RabbitMQ's PROTOCOL.adoc lists them."),
    "schema": ("rstream.schema", "Find the frame's new name or fields; RabbitMQ's PROTOCOL.adoc has them."),
    "sequence": ("rstream.utils", "Number requests as rstream.client does now."),
    "amqp.channel": ("amqp.channel", "Notice that the broker closed a channel where amqp learns it now."),
    "amqp.connection": ("amqp.connection", "Notice a read that timed out while an answer is owed there now."),
    "amqp.exceptions": ("amqp.exceptions", "Find the broker's words where the exception keeps them now."),
    "einfo": ("billiard.einfo", "Find the error itself in what on_failure is given now."),
    "lost": ("billiard.pool", "Read how a child ended from what on_failure is given now."),
    "status": ("billiard.common", "Read from the new words whether a signal ended a child, and which."),
    "pyamqp": ("kombu.transport.pyamqp", "Have kombu make our connections and channels another way."),
    "retry": ("kombu.connection", "Bound the pause between two tries to connect another way."),
    "consumer": ("celery.worker.consumer", "Read Consumer.start, and do this where it now connects again."),
    "control": ("celery.app.control", "Give the worker's commands a queue of its own another way."),
    "dispatcher": ("celery.events.dispatcher", "Keep a bounded number of events where it keeps them now."),
    "events": ("celery.app.events", "Have the app make our dispatcher of events another way."),
    "local": ("celery.local", "Ask celery.app.app_or_default, which is documented."),
    "nodenames": ("celery.utils.nodenames", "Name a worker as `celery worker --hostname` does now."),
    "pool": ("celery.concurrency.base", "Count the worker's processes another way."),
    "queues": ("celery.app.amqp", "Find the queues that the worker consumes, or a task's header, there."),
    "request": ("celery.worker.request", "Mark, send and acknowledge the message as a Request allows now."),
    "state": ("celery.worker.state", "Do what Request.on_failure itself now does at this point."),
    "task": ("celery.app.task", "Read the mark from request.headers, which is documented."),
    "core": ("prometheus_client.core", "Add the samples to a metric as the library's own collectors do."),
    "metrics": ("prometheus_client.metrics", "Put our number where a series' number is made now."),
    "numbers": ("prometheus_client.utils", "Write buckets' bounds as generate_latest does now."),
    "values": ("prometheus_client.values", "Put our number where a series' number is made now."),
    "honcho": ("honcho.process", "Start the process by another class, and read its lines ourselves."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relied:
    """One name, the files of ours that rely on it, for what, and what to do when it is gone or different.

    `takes`: the parameters that come first, in this order; `also`: others that it must have; `text`: what a
    string in its source must contain. None and empty: that the name is there is enough.
    """

    library: str
    name: str
    by: tuple[str, ...]
    what: str
    remedy: str
    takes: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()
    text: str | None = None


def relied(key: str, by: str, what: str) -> Relied:
    """What `private_names` writes in short; there is how."""
    found = re.fullmatch(r"([\w.]+)(?:\(([^)]*)\)|\['(.+)'\])?", key)
    assert found is not None, f"{key} is not written as a name"
    alias = max((alias for alias in MODULES if key.startswith(f"{alias}.")), key=len)
    module, remedy = MODULES[alias]
    takes, _, also = (found[2] or "").partition("*")
    return Relied(
        library=module.partition(".")[0],
        name=module + found[1].removeprefix(alias),
        by=tuple(by.split()),
        what=what,
        remedy=remedy,
        takes=None if found[2] is None else tuple(re.findall(r"\w+", takes)),
        also=tuple(re.findall(r"\w+", also)),
        text=found[3],
    )
