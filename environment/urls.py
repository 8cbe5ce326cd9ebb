"""The URLs of servers, read strictly: no message about one holds a part of its password."""

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from environment.errors import Misconfigured

DATABASE_FORM = "sqlite:///path or postgresql://user:password@host:port/name"
BROKER_FORM = "amqp[s]://user:password@host:port/vhost (of a cluster several, joined by semicolons)"
STREAM_FORM = (
    "rabbitmq-stream[+tls]://user:password@host:port/vhost (the default vhost is %2f),"
    " of a cluster several joined by semicolons"
)

_BROKER_SCHEMES = ("amqp", "amqps", "pyamqp")
_STREAM_SCHEMES = ("rabbitmq-stream", "rabbitmq-stream+tls")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Our own sentences show the form of a URL.
_CREDENTIALS = re.compile(r"(?<=://)(?!user:password@)\S+@")


def without_passwords(text: str) -> str:
    """A text in which URLs have lost user and password, however they are quoted."""
    return _CREDENTIALS.sub("…@", text)


def check_database(url: str) -> None:
    """Raises Misconfigured when DATABASE_URL is of another kind, or can be read in two ways."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        return
    if scheme == "postgres":
        raise Misconfigured(
            f"DATABASE_URL has the scheme 'postgres': write postgresql, expected {DATABASE_FORM}"
        )
    _split("DATABASE_URL", url, ("postgresql",), DATABASE_FORM, host_needed=False)


def check_broker(urls: str) -> None:
    """Raises Misconfigured when one of BROKER_URL's URLs is of another kind."""
    for url in urls.split(";"):
        _split("BROKER_URL", url, _BROKER_SCHEMES, BROKER_FORM)


def split_streams(urls: str) -> list[SplitResult]:
    """STREAM_URL's URLs, taken apart. Raises Misconfigured when one is of another kind."""
    return [_split("STREAM_URL", url, _STREAM_SCHEMES, STREAM_FORM) for url in urls.split(";")]


def _split(
    variable: str, url: str, schemes: Collection[str], form: str, *, host_needed: bool = True
) -> SplitResult:
    scheme, found, rest = url.partition("://")
    if not found or not _SCHEME.fullmatch(scheme):
        raise Misconfigured(f"{variable} is not a URL: expected {form}")
    # A driver's name may follow; of a stream's URL the whole is the scheme.
    if scheme not in schemes and scheme.partition("+")[0] not in schemes:
        raise Misconfigured(f"{variable} has the scheme {scheme!r}: expected {form}")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # A sign after the first `=` of a query may be a value's.
    beyond = rest[len(authority) :].partition("?")
    if authority.count("@") > 1 or ("@" not in authority and "@" in beyond[0] + beyond[2].partition("=")[0]):
        raise Misconfigured(
            f"{variable} has a user or password with an unquoted sign: write @ as %40, / as %2F, ? as %3F,"
            f" # as %23, : as %3A and % as %25"
        )
    if _BAD_ESCAPE.search(authority.rpartition("@")[0]):
        raise Misconfigured(f"{variable} has a user or password with a % that quotes nothing: write %25")
    if any(sign.isspace() or not sign.isprintable() for sign in rest):
        raise Misconfigured(f"{variable} holds a blank or a sign that cannot be printed: expected {form}")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise Misconfigured(f"{variable} has a host or port that is none: expected {form}") from None
    if port == 0:
        raise Misconfigured(f"{variable} has the port 0: expected {form}")
    if host_needed and not host:
        raise Misconfigured(f"{variable} names no host: expected {form}")
    return parts
