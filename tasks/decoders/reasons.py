"""Why an event or a batch does not fit: the typed list that docs/quarantine.md explains one by one."""

from enum import StrEnum


class RejectReason(StrEnum):
    """Why one event of a batch is rejected; the batch's other events go on."""

    NOT_JSON = "not_json"
    BAD_FIELD = "bad_field"
    BAD_GROUP = "bad_group"
    BAD_UTF8 = "bad_utf8"
    BAD_EVENT_ID = "bad_event_id"
    BAD_TRACE_ID = "bad_trace_id"
    BAD_PARENT_ID = "bad_parent_id"
    BAD_TIME = "bad_time"
    BAD_DURATION = "bad_duration"
    BAD_SERVICE = "bad_service"
    BAD_OPERATION = "bad_operation"
    BAD_KIND = "bad_kind"
    BAD_STATUS = "bad_status"
    BAD_STATUS_MESSAGE = "bad_status_message"
    BAD_USER_ID = "bad_user_id"
    BAD_ATTRIBUTES = "bad_attributes"
    BAD_DETAILS = "bad_details"
    NUL_CHARACTER = "nul_character"


class UnfitReason(StrEnum):
    """Why a batch is quarantined as a whole."""

    UNKNOWN_FORMAT = "unknown_format"
    BAD_ENCODING = "bad_encoding"
    RATIO_EXCEEDED = "ratio_exceeded"
    TOO_LARGE = "too_large"
    TOO_MANY_EVENTS = "too_many_events"
    TOO_MANY_VALUES = "too_many_values"
    MALFORMED = "malformed"
    NOT_UNDERSTOOD = "not_understood"
    BAD_SCHEMA = "bad_schema"
    TOO_MANY_REJECTS = "too_many_rejects"
