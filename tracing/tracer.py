"""The one object through which a process traces; it costs next to nothing while no collector is named."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tracing import collector
from tracing.attributes import Attributes, Kind

if TYPE_CHECKING:
    from tracing.recording import Recording

_NOTHING = nullcontext()


class Tracer:
    """One per process; any thread may use it. Nothing of it ever raises or waits, but for `stop`."""

    def __init__(self, process: str) -> None:
        """`process`: receiver, dispatcher or worker."""
        self._process = process
        self._recording: Recording | None = None
        self._own: str | None = None

    def start(self) -> None:
        """Begin, when a collector is configured. To be called after the fork."""
        if not collector.configured():
            return
        # The SDK takes 15 MB and a third of a second: not for those who do not trace.
        from tracing.recording import begin

        self._recording = begin(self._process)
        if self._recording is not None:
            self._own = collector.own_customer()

    def stop(self) -> None:
        """Send what is left, within a few seconds in any case."""
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.end()

    def traces(self, slug: str | None) -> bool:
        """Whether work for this customer is traced: not for the one to which the spans are posted."""
        return self._recording is not None and (slug is None or slug != self._own)

    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        *,
        parent: Mapping[str, str] | None = None,
        link: str | None = None,
        started_ns: int | None = None,
        error: str | None = None,
    ) -> AbstractContextManager[None]:
        """A span around what is done within; those made meanwhile in this thread are its children.

        `parent`: what `headers` said in another process. `link`: a `traceparent` of somebody else's trace.
        `started_ns`: when it began, in ns since 1970, if not now. `error`: the type of an error that was no
        exception; of one that is raised within, the class is told, and never its text.
        """
        if self._recording is None:
            return _NOTHING
        return self._recording.span(name, kind, attributes, parent, link, started_ns, error)

    def child(self, name: str) -> AbstractContextManager[None]:
        """A span below the one that is open in this thread; nothing when there is none."""
        return _NOTHING if self._recording is None else self._recording.child(name)

    def headers(self, slug: str) -> dict[str, str]:
        """What a message carries so that spans of its receivers hang below the open one: `traceparent`, and
        the customer as `baggage`. Empty when no span is open.
        """
        return {} if self._recording is None else self._recording.headers(slug)
