"""Every undocumented name of a library that our code relies on is there, and is in `private_names.RELIED`.

A failure after a library was updated says who relies on the name, what for, and what to do. That nothing is
missing in the list is looked for in what our classes share with those that they are derived from (a name of
ours that a library begins to use, too, is found as well), in imports, and in names with an underscore. A name
without one that is asked of another object (`conn.timeout`) can't be told from one of ours by reading: such
names are listed by hand.
"""

import inspect
import re
from collections import Counter
from contextlib import suppress
from types import FunctionType

import pytest
from celery.app.task import Context

from tasks.stages.deliveries import delivery
from tasks.worker import transport
from tasks.worker.requests import CAUSE
from tests.unit import private_lookup
from tests.unit.private_lookup import ANY_NUMBER, Use
from tests.unit.private_modules import Relied
from tests.unit.private_names import RELIED
from tests.unit.test_rooms import ROOT, is_below

# What our classes override or use of the libraries' and may: with where it is described.
DOCUMENTED = {
    "celery.bootsteps": "user guide, Extensions and Bootsteps",
    "celery.events.dispatcher.EventDispatcher.send": "reference of celery.events.dispatcher",
    "celery.worker.consumer.consumer.Consumer.app": "user guide, Extensions and Bootsteps",
    "celery.worker.request.Request.on_failure": "user guide, Tasks: a request class of one's own",
    "click": "click's guides: commands, groups, types and exceptions of one's own",
    "kombu.pidbox.Mailbox.get_queue": "reference of kombu.pidbox",
    "kombu.pidbox.Mailbox.namespace": "reference of kombu.pidbox",
    "opentelemetry.sdk.trace.export": "OpenTelemetry Python, exporters and processors of one's own",
    "prometheus_client.registry.Collector": "documentation of the library, Custom Collectors",
    "psycopg.adapt.Dumper": "psycopg, Data adaptation configuration",
    "pydantic_settings.main.BaseSettings": "pydantic, Settings Management",
    "pydantic_settings.sources.base.PydanticBaseSettingsSource": "pydantic, Settings Management",
    "werkzeug.sansio.response.Response": "Werkzeug, Request / Response Objects",
    "werkzeug.wrappers.response.Response": "Werkzeug, Request / Response Objects",
    "sqlalchemy.sql.type_api.ExternalType.cache_ok": "SQLAlchemy, Custom Types",
    "sqlalchemy.sql.type_api.TypeDecorator": "SQLAlchemy, Custom Types",
}
# Names that begin with an underscore so that they can't be a column's or a field's.
DOCUMENTED_UNDERSCORES = {
    "_asdict": "Python, typing.NamedTuple",
    "_fields": "Python, typing.NamedTuple",
    "_mapping": "SQLAlchemy, Row",
    "_replace": "Python, typing.NamedTuple",
}
# Modules that no documentation describes: whatever is imported from them has to be in the list.
UNDOCUMENTED_MODULES = (
    "billiard",
    "celery.local",
    "celery.utils",
    "celery.worker",
    "gunicorn",
    "honcho.process",
    "prometheus_client.utils",
    "prometheus_client.values",
    "rstream.client",
    "rstream.constants",
    "rstream.encoding",
    "rstream.exceptions",
    "rstream.schema",
    "rstream.utils",
)


def is_documented(use: Use) -> bool:
    return any(is_below(use.full_name, above) for above in DOCUMENTED)


def listed_for(use: Use) -> bool:
    """Whether the list has the name of one of the classes that ours is derived from, for this file."""
    for one in RELIED:
        if use.file in one.by and one.name.endswith(f".{use.name}"):
            with suppress(LookupError):
                owner, _ = private_lookup.find(one.name)
                if isinstance(owner, type) and issubclass(use.ours, owner):
                    return True
    return False


def holds(text: str, one: Relied) -> bool:
    """Whether our file's text has the last part of the name, or all that is asked of it by name."""
    last = one.text or one.name.rpartition(".")[2]
    held = [re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None for word in (last, *one.also)]
    return held[0] or all(held[1:] or [False])


def refusal(use: Use) -> str | None:
    """Why a method of ours can't be called as the library's is."""
    ours, theirs = vars(use.ours).get(use.name), inspect.getattr_static(use.owner, use.name, None)
    if not isinstance(ours, FunctionType) or not isinstance(theirs, FunctionType) or use.name == "__init__":
        return None
    if inspect.iscoroutinefunction(ours) != inspect.iscoroutinefunction(theirs):
        return f"{use.file}: {use.ours.__name__}.{use.name} and {use.full_name}: one is awaited, one is not"
    taken = private_lookup.parameters(use.ours, use.name)
    names = [one.name for one in taken]
    given = [one.name for one in private_lookup.parameters(use.owner, use.name) if one.kind not in ANY_NUMBER]
    if names[: len(given)] == given or {one.kind for one in taken} >= ANY_NUMBER:
        return None
    return f"{use.file}: {use.ours.__name__}.{use.name} takes {names}, and {use.full_name} {given}"


@pytest.mark.parametrize("one", RELIED, ids=lambda one: f"{one.name} in {' '.join(one.by)}")
def test_a_name_that_we_rely_on_is_there_as_we_rely_on_it(one: Relied) -> None:
    amiss = private_lookup.amiss(one)
    assert amiss is None, private_lookup.report(one, str(amiss))


def test_the_files_that_are_said_to_rely_on_a_name_hold_it() -> None:
    assert not [f"{file} does not exist" for one in RELIED for file in one.by if not (ROOT / file).exists()]
    gone = [
        f"{file} does not use {one.name} any more"
        for one in RELIED
        for file in one.by
        if not holds((ROOT / file).read_text(), one)
    ]
    assert not gone, "\n".join(gone)


def test_no_name_is_listed_twice_for_a_file() -> None:
    times = Counter((one.name, file) for one in RELIED for file in one.by)
    assert [pair for pair, count in times.items() if count > 1] == []


def test_what_our_classes_take_from_the_libraries_classes_is_listed_or_documented() -> None:
    missing = [
        f"{use.file}: {use.ours.__name__} overrides or uses {use.full_name}"
        for use in private_lookup.uses()
        if not is_documented(use) and not listed_for(use)
    ]
    assert not missing, "not in tests/unit/private_names.py:\n" + "\n".join(missing)


def test_our_methods_can_be_called_as_those_that_they_override() -> None:
    refusals = [said for use in private_lookup.uses() if not is_documented(use) and (said := refusal(use))]
    assert not refusals, "\n".join(refusals)


def test_private_attributes_of_others_are_listed_or_documented() -> None:
    listed = {(one.name.rpartition(".")[2], file) for one in RELIED for file in one.by}
    missing = [
        f"{file}:{line} uses {name}"
        for file, line, name in private_lookup.private_accesses()
        if (name, file) not in listed and name not in DOCUMENTED_UNDERSCORES
    ]
    assert not missing, "not in tests/unit/private_names.py:\n" + "\n".join(missing)


def test_what_is_taken_from_undocumented_modules_is_listed() -> None:
    missing = [
        f"{file}:{line} takes {name}"
        for file, line, name, imported in private_lookup.library_names()
        if (imported and re.search(r"\._(?!_)", name))
        or any(is_below(name, module) for module in UNDOCUMENTED_MODULES)
        if not any(
            file in one.by and (is_below(one.name, name) or is_below(name, one.name)) for one in RELIED
        )
    ]
    assert not missing, "not in tests/unit/private_names.py:\n" + "\n".join(missing)


def test_nothing_is_excepted_that_nobody_uses() -> None:
    used = {use.full_name for use in private_lookup.uses()}
    assert {above for above in DOCUMENTED if not any(is_below(name, above) for name in used)} == set()
    accessed = {name for _, _, name in private_lookup.private_accesses()}
    assert set(DOCUMENTED_UNDERSCORES) <= accessed


def test_a_header_of_a_message_is_an_attribute_of_its_tasks_request() -> None:
    request = Context({"id": "1", CAUSE: "worker_died: signal 9 (SIGKILL)"})
    assert delivery(request).died_of == "worker_died: signal 9 (SIGKILL)"


def test_the_transports_and_their_connections_are_made_of_our_classes() -> None:
    assert transport.Transport.Connection is transport.TimedConnection
    assert transport.SSLTransport.Connection is transport.TimedConnection
    assert transport.TimedConnection.Channel is transport.Channel
