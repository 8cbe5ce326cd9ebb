"""What a scan of OTLP traces fills: the columns of its tables, and the places in its array of work."""

from typing import Final

OK, ALONE, FULL = 0, -1, -2  # of a body: scanned, to be read alone, or the tables have no room for it

# Columns of the rows of spans, of attributes with a value, of resources, and of scopes; all int32. A span's
# own bytes begin at SPAN_AT; EXCEPTIONAL is 1 where one of its events tells of an exception.
GROUP, FIRST, LAST, NAME_AT, NAME_SIZE, MESSAGE_AT, MESSAGE_SIZE, KIND, CODE, USER_ENTRY, IDS = range(11)
SPAN_AT, SPAN_SIZE, SCOPE, EXCEPTIONAL = range(11, 15)
KEY, TYPE, AT, SIZE = range(4)
GROUP_FIRST, GROUP_LAST, SERVICE_TYPE, SERVICE_AT, SERVICE_SIZE = range(5)
RESOURCE_AT, RESOURCE_SIZE, GROUP_URL_AT, GROUP_URL_SIZE = range(5, 9)
SCOPE_AT, SCOPE_SIZE, SCOPE_URL_AT, SCOPE_URL_SIZE = range(4)
SPAN_COLUMNS, GROUP_COLUMNS, SCOPE_COLUMNS = 15, 9, 4
TRACE_ID, SPAN_ID, PARENT_ID = 1, 2, 4  # bits of IDS: those that are there

SERVICE, USER, END_USER = range(3)  # codes of the keys that come first in the dictionary of keys
NONE, STRING, BOOL, INT, DOUBLE, ARRAY, KVLIST, BYTES = range(8)  # TYPE: AnyValue's fields by number
PAIR, ANY = 8, 9  # other messages within a value: KeyValue and AnyValue

MOST_KEYS: Final = 16_384  # distinct ones of a window
MOST_PROBES: Final = 32  # slots looked at for a key; keys made to collide must not cost more
DEPTH: Final = 32  # messages in each other, of one value
SCALAR_TEXT: Final = 24  # bytes of the longest number as text
SERVICE_TEXT: Final = 16  # bytes of the service of a resource that names none
OFFSETS: Final = 8  # bytes of an attribute in a map, beside its texts

# The array of work (int64) holds first what was counted: rows of spans, entries, groups and keys; of one
# body the bytes of its attributes as maps, and how many it has; which table was full; and rows of scopes.
# Then the stack of a value's messages, two numbers each; the dictionary of keys, where each is and its size;
# and by a key's hash 1 + its code.
SPANS, ENTRIES, GROUPS, KEYS, EXPANDED, RAW, FULL_TABLE, SCOPES = range(8)
STACK: Final = 8
DICTIONARY: Final = STACK + 2 * DEPTH
SLOTS: Final = DICTIONARY + 2 * MOST_KEYS
MASK: Final = 4 * MOST_KEYS - 1
WORK: Final = SLOTS + MASK + 1

# The bounds (int64) of a plain body: its spans, its attributes (its resources' once for each span), and their
# bytes as maps; of one span or resource the attributes; of one attribute the bytes of its key and its value;
# of one span the span events (and the links), and their bytes; of one scope the bytes with the schema URLs.
MOST_EVENTS, MOST_VALUES, MOST_EXPANDED, MOST_ATTRIBUTES, MOST_KEY_BYTES, MOST_VALUE_BYTES = range(6)
MOST_DETAILS, MOST_OWN_BYTES, MOST_SCOPE_BYTES = range(6, 9)
BOUNDS: Final = 9
