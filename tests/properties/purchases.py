"""What a customer did, for laws of computed traits: orders and visits at known instants, some late, some odd, some twice."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from services.profile.domain.computed.definitions import Definitions, compile_section
from services.profile.domain.computed.document import Section
from services.profile.domain.computed.occurrences import Kept
from services.profile.domain.computed.take import Counting, join
from services.profile.domain.fold import Step, evolve_all
from services.profile.domain.rules import Keeping
from services.profile.domain.state import State
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id
from shared.instants import DAY, SECOND
from tests.properties.histories import KEY, STREAMS

START = 1_780_000_000 * SECOND
MINUTE = 60 * SECOND
ORDER = "event.name == 'Order Completed'"
TOTAL = "double(event.properties.total)"
WINDOWS: list[Any] = [None, "2d", "45m", {"session": "30m"}]
VALUES = {"sum": TOTAL, "min": TOTAL, "max": TOTAL, "average": TOTAL}
VALUES |= dict.fromkeys(["first", "last", "most_frequent", "unique_list", "unique_count"], "event.properties.sku")
SCORES: dict[str, list[Any]] = {"recency": ["1h", "12h", "2d", "4d"], "frequency": [2, 3, 5, 8], "monetary": [10, 20, 40, 80]}
MODEL: dict[str, Any] = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426, "p": 6.25, "q": 3.74, "gamma": 15.44}


def every_kind() -> dict[str, Any]:
    """Each aggregate over each kind of window."""
    found: dict[str, Any] = {"since": {"of": ORDER, "aggregate": "time_since"}}
    found["clv"] = {"of": ORDER, "aggregate": "lifetime_value", "value": TOTAL, "model": MODEL, "horizon": "365d"}
    for place, window in enumerate(WINDOWS):
        found[f"rfm_{place}"] = {"of": ORDER, "aggregate": "rfm", "value": TOTAL, "window": window, "scores": SCORES}
        found[f"count_{place}"] = {"of": "event.type == 'page' || " + ORDER, "aggregate": "count", "window": window}
        for aggregate, value in VALUES.items():
            found[f"{aggregate}_{place}"] = {"of": ORDER, "aggregate": aggregate, "value": value, "window": window}
    return found


def compiled(section: dict[str, Any]) -> Definitions:
    return compile_section(msgspec.convert(section, Section))


@st.composite
def purchases(draw: st.DrawFn) -> Entry:
    """Within five days; near the edges of windows more often than not. Equal draws are one event."""
    at = START + draw(st.integers(0, 5)) * DAY + draw(st.integers(0, 4)) * 15 * MINUTE + draw(st.integers(-1, 1))
    received = at + draw(st.sampled_from([0, 0, SECOND, 2 * DAY, -MINUTE]))
    stream = draw(st.sampled_from(STREAMS))
    properties: dict[str, Any] = {}
    if draw(st.booleans()):
        properties["total"] = draw(st.sampled_from([1, 2.5, 0.1, 1e14, 20, "12.5", "none", None, True]))
    if draw(st.booleans()):
        properties["sku"] = draw(st.sampled_from(["a", "b", 1, 1.0, True, None, ["a"], "x" * 300]))
    name = draw(st.sampled_from(["Order Completed", "Order Completed", "Cart Viewed"]))
    kind, personal = events.TRACKED, events.Tracked(name=name, properties=properties)  # type: Any, Any
    if draw(st.integers(0, 4)) == 0:
        kind, personal = events.PAGE_VIEWED, events.Viewed(name="home", properties=properties)
    public = events.Activity(source="web", resolved_by=b"h" * 16, received_at=received)
    marker = repr((kind.id, name, properties, at, received)).encode()
    return make_entry(kind, stream, derived_id(stream, marker), at, public, personal, KEY)


def kept_of(definitions: Definitions, history: list[Entry]) -> dict[str, Kept]:
    kept: dict[str, Kept] = {}
    for entry in history:
        counting = Counting(definitions)
        counting.count(entry, *entry.parts(KEY))
        counting.keep(kept)
    return kept


def numbered(history: list[Entry]) -> list[tuple[int, Entry]]:
    """As the log has them, each with the version of its stream; what comes again has the one that it had."""
    versions: dict[bytes, dict[bytes, int]] = {}
    for entry in history:
        own = versions.setdefault(entry.stream, {})
        own.setdefault(entry.event_id, len(own) + 1)
    return [(versions[entry.stream][entry.event_id], entry) for entry in history]


def recorded_of(definitions: Definitions, records: list[tuple[int, Entry]], together: int = 1) -> dict[str, Kept]:
    """What is kept of streams that are one customer, read in this order, so many of a stream together."""
    states: dict[bytes, State] = {}
    own: dict[bytes, list[Step]] = {}
    for version, entry in records:
        own.setdefault(entry.stream, []).append((version, entry, *entry.parts(KEY)))
    for stream, steps in own.items():
        states[stream] = State()
        for first in range(0, len(steps), together):
            evolve_all(steps[first : first + together], states[stream], Keeping(computed=definitions))
    return join(state.computed for state in states.values())


def once(history: list[Entry]) -> list[Entry]:
    return list({entry.event_id: entry for entry in history}.values())
