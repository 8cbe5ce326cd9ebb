"""The steps of a pipeline as frozen structs; docs/pipeline.md gives the exact rules of each."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# No NUL: PostgreSQL cannot store one. 256 characters are at most the 1,024 bytes of a decoded name.
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"\A[^\x00]*\Z")]
Constant = Annotated[str, Meta(max_length=4096, pattern=r"\A[^\x00]*\Z")]
Pattern = Annotated[str, Meta(min_length=1, max_length=4096)]
Rule = Annotated[str, Meta(pattern=r"\A[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z")]
Percent = Annotated[float, Meta(ge=0, le=100)]
SeverityNumber = Annotated[int, Meta(ge=1, le=24)]
SeverityWord = Literal["trace", "debug", "info", "warn", "error", "fatal"]
Microseconds = Annotated[int, Meta(ge=0, le=2**53)]
Most = Annotated[int, Meta(ge=1, le=1_000)]

# A name's last word says what its value is: `input_tokens` is a number of tokens, `cookie_banner` a banner.
# Some words behind the last say no more than the secret itself, and a dot begins what is part of it; but for
# `token`, since `token.type` and `token.count` are what everybody measures of language models.
_LAST_WORD = (
    r"(?:(?:passw(?:or)?d|passphrase|secret|cookie|credential)s?|authorization"
    r"|(?:api|private|secret(?:[-_.]?access)?)[-_.]?keys?)"
)
_VERY_LAST = r"(?:token|(?:access|api|auth|bearer|csrf|id|refresh|session|xsrf)[-_.]?tokens)"
_STILL = (
    r"(?:[-_.]?(?:[0-9]|base64|code|confirm(?:ation)?|current|data|digest|encoded|encrypted|hash|header|json"
    r"|jwt|key|new|old|pem|plain|raw|string|text|value))*"
)
REDACTED_KEYS = rf"(?i){_LAST_WORD}{_STILL}[-_]*(?:[^-_a-zA-Z0-9]|$)|{_VERY_LAST}{_STILL}[^a-zA-Z0-9]*$"
REDACTED_VALUES = r"(?i:\bbearer +[a-z0-9._~+/-]{8,})|\beyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+"


class Regex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An RE2 expression, searched anywhere in the text: anchor it with ^ and $ to match the whole."""

    regex: Pattern


Match = Annotated[tuple[str, ...], Meta(min_length=1)] | Regex


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Holds for an event when every given field does; a list does when one of its texts is equal."""

    service: Match | None = None
    operation: Match | None = None
    kind: Match | None = None
    status: Literal["ok", "error"] | None = None
    attributes: dict[Name, Match] = {}
    min_duration_us: Microseconds | None = None
    max_duration_us: Microseconds | None = None


EVERYTHING = Where()


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag=str.lower):
    """What all steps share: an object with the step's name in `step`."""


class Drop(Step, frozen=True, kw_only=True):
    """Removes the events that match; they are counted under `rule`."""

    rule: Rule
    where: Where


class Sample(Step, frozen=True, kw_only=True):
    """Removes what matches and is not among `percent` of the traces; counted under `rule`."""

    rule: Rule
    percent: Percent
    where: Where = EVERYTHING


class Redact(Step, frozen=True, kw_only=True):
    """Replaces an attribute's value by `[redacted]` when its key or its value matches."""

    keys: Pattern = REDACTED_KEYS
    values: Pattern = REDACTED_VALUES


class Rename(Step, frozen=True, kw_only=True, omit_defaults=True):
    """Gives services, operations and attribute keys other names: old → new, whole names only."""

    services: dict[str, Name] = {}
    operations: dict[str, Name] = {}
    attributes: dict[str, Name] = {}


class Enrich(Step, frozen=True, kw_only=True):
    """Sets constant attributes on the events that match."""

    attributes: Annotated[dict[Name, Constant], Meta(min_length=1)]
    where: Where = EVERYTHING


class Normalise(Step, frozen=True):
    """Takes ids and the query out of operations that are URL paths."""


class Compose(Step, frozen=True):
    """Output: one partial row a trace, to be merged in `interactions`."""


class Rollup(Step, frozen=True, kw_only=True, omit_defaults=True):
    """Output: partial rows a minute × service × operation × status, to be merged in `rollups`; and the same
    `by` more columns, to be merged in `split_rollups`.

    `most`: values of these columns together that may have rows of their own in a minute.
    """

    by: tuple[Literal["environment", "version"], ...] = ()
    most: Most = 50


class Exceptions(Step, frozen=True, kw_only=True):
    """Output: partial rows a minute × service × fingerprint, to be merged in `exceptions`.

    `most`: pairs of service and fingerprint that may have rows of their own in a minute; the others are
    counted as `other`.
    """

    most: Most = 100


class Keep(Step, frozen=True, kw_only=True):
    """Output: the events for `events`: errors, and what took longer, and `percent` of the traces."""

    errors: bool = True
    slower_than_us: Microseconds | None = None
    percent: Percent = 0.0


class RollupLogs(Step, frozen=True, tag="rollup_logs"):
    """Output: partial rows a minute × service × severity of log records, to be merged in `log_rollups`."""


class KeepLogs(Step, frozen=True, kw_only=True, tag="keep_logs", omit_defaults=True):
    """Output: the log records for `logs`: those at least as severe, or with these attributes, and `percent`
    of the traces, or of the records without one.
    """

    min_severity: SeverityNumber | SeverityWord | None = None
    percent: Percent = 0.0
    attributes: dict[Name, Match] = {}


LogOutput = RollupLogs | KeepLogs
Output = Compose | Rollup | Exceptions | Keep
AnyStep = Drop | Sample | Redact | Rename | Enrich | Normalise | Output | LogOutput


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps, run in order over a window's events; outputs come last, each at most once."""

    steps: Annotated[tuple[AnyStep, ...], Meta(max_length=100)]
