"""What the broker's management plugin says of nodes and queues: read in bulk, and never changed."""

import json
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from streams.errors import BrokerMisconfigured, BrokerUnavailable

# Tens of thousands of queues, at some 300 bytes each.
MOST_BYTES = 256 * 1024 * 1024
_COLUMNS = "name,type,arguments,durable,exclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node of the broker. Sizes are bytes; None where its release does not say."""

    name: str
    running: bool
    memory_alarm: bool
    disk_alarm: bool
    disk_free: int | None
    disk_limit: int | None
    descriptors_used: int | None
    descriptors: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A queue or a stream as it was declared; `type` is classic, quorum or stream."""

    name: str
    type: str
    durable: bool
    exclusive: bool
    arguments: Mapping[str, Any]


class Management:
    """The plugin's HTTP API. All methods raise BrokerUnavailable, and BrokerMisconfigured for a refused login
    or an address where there is no such plugin; no message holds the URL's password.
    """

    def __init__(self, url: str, *, deadline_s: float) -> None:
        """`url`: http[s]://user:password@host:port. Each answer may take `deadline_s` seconds."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BrokerMisconfigured(f"MANAGEMENT_URL is no URL: {_FORM}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in (parts.password or ""):
            raise BrokerMisconfigured(f"MANAGEMENT_URL does not have the form {_FORM}")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._origin = f"{parts.scheme}://{host}" + (f":{port}" if port else "") + parts.path.rstrip("/")
        login = f"{unquote(parts.username or 'guest')}:{unquote(parts.password or 'guest')}"
        self._authorization = "Basic " + b64encode(login.encode()).decode()
        self._deadline_s = deadline_s

    def nodes(self) -> list[NodeState]:
        """All nodes of the cluster."""
        return [_node(row) for row in self._get("/api/nodes")[0]]

    def queues(self, vhost: str) -> list[QueueRow]:
        """All queues and streams of the virtual host, in one answer."""
        query = f"?disable_stats=true&enable_queue_totals=true&columns={_COLUMNS}"
        rows, _ = self._get(f"/api/queues/{quote(vhost, safe='')}{query}")
        return [_queue(row) for row in rows]

    def clock_s(self) -> float:
        """Seconds since 1970 by the clock of the node that answers, to the whole second."""
        _, date = self._get("/api/whoami")
        try:
            return parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            raise BrokerUnavailable("the management plugin does not say what time it is") from None

    def _get(self, path: str) -> tuple[Any, str | None]:
        """The answer's document, and its Date."""
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._origin + path, headers={"Authorization": self._authorization}
        )
        try:
            with _DIRECT.open(request, timeout=self._deadline_s) as answer:
                body, date = answer.read(MOST_BYTES + 1), answer.headers.get("Date")
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (401, 403, 404):
                    raise BrokerMisconfigured(
                        f"the management plugin answers {error.code}: MANAGEMENT_URL needs a user with the"
                        " tag monitoring, and the virtual host of STREAM_URL"
                    ) from None
                raise BrokerUnavailable(f"the management plugin answers {error.code}") from None
        except (OSError, HTTPException) as error:
            raise BrokerUnavailable(f"the management plugin: {getattr(error, 'reason', error)}") from None
        if len(body) > MOST_BYTES:
            raise BrokerUnavailable(f"the management plugin's answer has more than {MOST_BYTES:,} bytes")
        try:
            return json.loads(body), date
        except ValueError:
            raise BrokerMisconfigured("MANAGEMENT_URL leads to no management plugin") from None


# A proxy named in the environment has no business between us and the broker.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_FORM = "http[s]://user:password@host:15672, where @ and / in a password are written %40 and %2F"


def _node(row: Mapping[str, Any]) -> NodeState:
    return NodeState(
        name=str(row.get("name")),
        running=bool(row.get("running")),
        memory_alarm=bool(row.get("mem_alarm")),
        disk_alarm=bool(row.get("disk_free_alarm")),
        disk_free=_number(row.get("disk_free")),
        disk_limit=_number(row.get("disk_free_limit")),
        descriptors_used=_number(row.get("fd_used")),
        descriptors=_number(row.get("fd_total")),
    )


def _queue(row: Mapping[str, Any]) -> QueueRow:
    return QueueRow(
        name=str(row.get("name")),
        type=str(row.get("type")),
        durable=bool(row.get("durable")),
        exclusive=bool(row.get("exclusive")),
        arguments=row.get("arguments") or {},
    )


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None
