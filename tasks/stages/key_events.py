"""How many events came with each public key: counted when they are decoded, for the rules of the key."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from db.clock import DAY_US
from db.customers.public_key_events import KeyDay
from streams import Envelope
from tasks.decoders import DecodedBatches
from tasks.handover import Header, KeyEvents


def counted(envelopes: Sequence[Envelope], decoded: DecodedBatches) -> list[KeyEvents]:
    """Events and log records that were found in batches of public keys, good ones and rejects, by the day of
    acceptance; none of a batch that is unfit as a whole. `decoded` is what was made of `envelopes`.
    """
    keyed = [(place, key) for place, one in enumerate(envelopes) if (key := one.public_key_id) is not None]
    if not keyed:
        return []
    rejected = Counter(reject.batch for reject in decoded.rejects)
    events = Counter[tuple[int, int]]()
    for place, key in keyed:
        events[key, envelopes[place].accepted_at_us // DAY_US] += decoded.good_of(place) + rejected[place]
    return [KeyEvents(key_id=of, day=day, events=count) for (of, day), count in events.items() if count]


def summed(headers: Iterable[Header]) -> Mapping[KeyDay, int]:
    """Of the windows that a deposit writes; empty where no batch had a public key."""
    events = Counter[KeyDay]()
    for header in headers:
        for one in header.key_events:
            events[KeyDay(header.customer_id, one.key_id, one.day)] += one.events
    return events
