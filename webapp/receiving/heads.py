"""What a batch's head says, and what becomes of a batch on its way: the values that the parts hand on."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.customers.rows import Customer
from streams import raw
from webapp import problems
from webapp.limits.admission import Admission
from webapp.limits.public_keys import KeyAdmission
from webapp.limits.wishes import Wishes, all_of
from webapp.problems import Problem
from webapp.receiving.body import Environ, announced_length, incomplete
from webapp.receiving.query import asked

TAKEN = "sluice.taken"
"""What the server took in of the request's body, in its environ: a `Taken`."""
ENCODINGS: Mapping[str, str] = {
    "": "",
    "identity": "",
    "gzip": "gzip",
    "x-gzip": "gzip",
    "deflate": "deflate",
    "zstd": "zstd",
    "br": "br",
}
"""Content-Encoding as sent to the word in the envelope; "" is none."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """What a content type means: its name without parameters, and the decoder's word for it.

    `empty`: no bytes at all are well-formed, and hold no events.
    """

    content_type: str
    name: str
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A batch whose head was found good: its body is wanted, and `admission` and `public` are to be ended.

    `limit` is the largest body in bytes, `begun` a `time.perf_counter`.
    """

    customer: Customer
    kind: MediaType
    encoding: str
    batch_id: str | None
    limit: int
    admission: Admission | None
    begun: float
    public: KeyAdmission | None = None

    @property
    def wishes(self) -> Wishes:
        """What the agent is asked for, by the limits that it is near to."""
        return all_of(one.wishes for one in (self.admission, self.public) if one is not None)

    @property
    def stream(self) -> str:
        """Where the batch is published."""
        return raw(self.customer.slug)


HeadResult = Admitted | Problem
"""What a request's head was found to be."""


@dataclass(slots=True)
class Taken:
    """A body that a server took in before it asked the application. `decision` is what the head was found to
    be, None when nobody asked, and gone when it was taken. `cut` is why the rest of the body is not there.
    """

    body: bytes | bytearray = b""
    decision: HeadResult | None = None
    cut: Problem | None = None

    def take(self) -> HeadResult | None:
        """Whoever takes what was admitted accepts or releases it."""
        decision, self.decision = self.decision, None
        return decision


@dataclass(slots=True, kw_only=True)
class Kept:
    """A batch that was found good: `message` is to be published, and the answer comes after the confirm.

    Nothing is published of one that is empty; `batch_id` and `message` are empty then. `begun` is the
    `time.perf_counter` at which it was given to the broker; until then `taken` holds the decision, too.
    """

    admitted: Admitted
    batch_id: str = ""
    message: bytes = b""
    size: int = 0
    discarded: bool = False
    begun: float = 0.0
    taken: Taken | None = None


def read_body(environ: Environ, limit: int) -> Taken:
    """The body as any WSGI server gives it; blocks until it is there. One byte more than `limit` at most."""
    length = announced_length(environ, limit=limit)
    body = environ["wsgi.input"].read(limit + 1 if length is None else length)
    return Taken(body, cut=incomplete() if length is not None and len(body) < length else None)


PLAIN = "text/plain"
"""What a page can send without asking first (a simple request of CORS): the query says what it is."""


def declared(environ: Environ, formats: Mapping[str, MediaType]) -> tuple[MediaType, str]:
    """What a body is, and the word in the envelope for its encoding. Raises Problem."""
    content_type = environ.get("CONTENT_TYPE", "")
    encoding = environ.get("HTTP_CONTENT_ENCODING", "")
    if content_type.partition(";")[0].strip(" \t").lower() != PLAIN:
        return media_type(content_type, formats), coding(encoding)
    name = asked(environ, "format")
    kind = next((kind for kind in formats.values() if kind.name == name), None)
    if kind is None:
        found = "is missing" if name is None else f"is {name[:100]!r}"
        raise Problem(
            problems.UNKNOWN_CONTENT_TYPE,
            f"for text/plain the query says what it is, as ?format=…, which {found} in it",
            members={"accepted": [kind.name for kind in formats.values()]},
            headers={"Accept": ", ".join(formats)},
        )
    return kind, coding(encoding or asked(environ, "encoding") or "")


def media_type(content_type: str, formats: Mapping[str, MediaType]) -> MediaType:
    """What a Content-Type means. Raises Problem (unknown-content-type)."""
    kind = formats.get(content_type) or formats.get(content_type.partition(";")[0].strip(" \t").lower())
    if kind is None:
        raise Problem(
            problems.UNKNOWN_CONTENT_TYPE,
            f"Content-Type is {content_type[:100]!r}",
            members={"accepted": list(formats)},
            headers={"Accept": ", ".join(formats)},
        )
    return kind


def coding(content_encoding: str) -> str:
    """The word in the envelope for a Content-Encoding. Raises Problem (unknown-content-encoding)."""
    encoding = ENCODINGS.get(content_encoding)
    if encoding is None:
        encoding = ENCODINGS.get(content_encoding.strip(" \t").lower())
    if encoding is None:
        accepted = [name for name in ENCODINGS if name]
        raise Problem(
            problems.UNKNOWN_CONTENT_ENCODING,
            f"Content-Encoding is {content_encoding[:100]!r}",
            members={"accepted": accepted},
            headers={"Accept-Encoding": ", ".join(accepted)},
        )
    return encoding
