"""Laws of segments: who is in one is known at every instant, and so is the next instant at which time alone may change it."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain import segments
from services.profile.domain.computed.aggregates import values
from services.profile.domain.segments import Known, Section, Segments
from shared.errors import InvalidInput
from shared.events.catalogue import Entry
from shared.instants import DAY, SECOND, to_iso
from tests.properties.purchases import MINUTE, START, compiled, every_kind, kept_of
from tests.properties.test_computed import histories, instants, received

DEFINITIONS = compiled(every_kind())
COMPARE = ["<", "<=", ">", ">="]
durations = st.sampled_from(["30m", "15m", "24h", "48h", "1h30m", "0s", "-24h"]).map("duration('{}')".format)
moments = st.sampled_from([START, START + DAY, START + 2 * DAY + 15 * MINUTE, START + DAY + 1]).map(
    lambda at: datetime.fromtimestamp(at / SECOND, UTC).isoformat()
)


def compared(*sides: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{} {} {}".format, sides[0], st.sampled_from(COMPARE), sides[1])


conditions = st.recursive(
    st.one_of(
        compared(st.just("traits.at"), st.builds("now - {}".format, durations)),
        compared(st.builds("now + {}".format, durations), moments.map("timestamp('{}')".format)),
        compared(st.just("now - instant(traits.at)"), durations),
        compared(st.just("computed.since"), durations),
        compared(st.builds("computed.since + {}".format, durations), durations),
        compared(st.sampled_from(["computed.count_1", "computed.count_3", "computed.unique_count_2"]), st.sampled_from("0123")),
        compared(st.sampled_from(["computed.sum_1", "computed.max_3", "computed.average_2"]), st.sampled_from(["1.0", "2.5"])),
        st.just("computed.rfm_0.recency_score > 3"),
        st.just("computed.last_1 == 'a'"),
        st.just("'b' in computed.unique_list_1"),
        st.just("has(traits.at)"),
        st.just("traits.vip"),
    ),
    lambda below: st.one_of(
        st.builds("({} && {})".format, below, below),
        st.builds("({} || {})".format, below, below),
        st.builds("!({})".format, below),
        st.builds("({} ? {} : {})".format, below, below, below),
    ),
    max_leaves=5,
)
sent = st.fixed_dictionaries(
    {}, optional={"at": st.one_of(moments, st.sampled_from(["2026-06-01", "soon", 3])), "vip": st.booleans()}
)


def section(**conditions: str) -> Section:
    return msgspec.convert({name: {"when": when} for name, when in conditions.items()}, Section)


def compile_one(when: str) -> Segments:
    return segments.compile_section(section(x=when), DEFINITIONS)


@given(conditions, sent, histories, instants, st.data())
def test_until_the_next_change_nobody_enters_or_leaves_and_changes_end(
    when: str, traits: dict[str, Any], history: list[Entry], at: int, data: st.DataObject
) -> None:
    found, kept, at = compile_one(when), kept_of(DEFINITIONS, history), max(at, received(history))

    def known(now: int) -> Known:
        return Known(traits, values(kept, DEFINITIONS, now), now)

    wakes = 0
    while (then := segments.next_change(found, known(at), kept)) is not None:
        assert then > at
        now = segments.members(found, known(at))
        for instant in (then - 1, data.draw(st.integers(at, then - 1))):
            assert segments.members(found, known(instant)) == now, instant
        at, wakes = then, wakes + 1
        assert wakes < 400
    assert segments.members(found, known(at + 1_000 * DAY)) == segments.members(found, known(at))


@pytest.mark.parametrize("operator", COMPARE)
@pytest.mark.parametrize("condition", ["traits.at {} now - duration('24h')", "now - instant(traits.at) {} duration('24h')"])
def test_a_condition_changes_to_the_microsecond(condition: str, operator: str) -> None:
    found, border = compile_one(condition.format(operator)), START + DAY
    compare: Any = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}[operator]
    for now in (border - 1, border, border + 1):
        known = Known({"at": to_iso(START)}, {}, now)
        sides = (START, now - DAY) if condition.startswith("traits") else (now - START, DAY)
        assert bool(segments.members(found, known)) is compare(*sides)
    assert segments.next_change(found, Known({"at": to_iso(START)}, {}, START), {}) == border


@pytest.mark.parametrize(
    ("when", "traits", "is_in"),
    [
        (
            "traits.country == 'US' && traits.signed_up_at > now - duration('4380h')",
            {"country": "US", "signed_up_at": "2026-05-01"},
            True,
        ),
        ("traits.country == 'US' && traits.signed_up_at > now - duration('4380h')", {"country": "US"}, False),
        ("traits.country == 'US' || traits.vip", {"vip": True}, True),
        ("!(traits.country == 'US')", {}, False),
        ("!has(traits.country)", {}, True),
        ("traits.age > 30", {"age": "old"}, False),
        ("traits.age > 30", {"age": 30.5}, True),
        ("traits.tags.exists(tag, tag == 'b')", {"tags": ["a", "b"]}, True),
        ("traits.vip", {"vip": "yes"}, False),
    ],
)
def test_what_is_missing_or_of_another_type_is_no_error(when: str, traits: dict[str, Any], is_in: bool) -> None:
    assert bool(segments.members(compile_one(when), Known(traits, {}, START))) is is_in


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("now.getHours() == 3", "are compared by <, <=, > or >="),
        ("now == timestamp('2026-01-01T00:00:00Z')", "are compared by <, <=, > or >="),
        ("traits.visits.exists(v, instant(v) > now)", "outside of macros"),
        ("string(computed.since) == '3s'", "are compared by"),
        ("computed.orders > 3", "segments.x.when, line 1, column 9: undeclared reference to 'computed.orders'"),
        ("computed.count_1 == 'a'", "no matching overload"),
        ("traits.count_1 > 3", "count_1 is computed: write computed.count_1"),
        ("computed.sum_1", "it has to be bool or dyn, and is double"),
    ],
)
def test_a_segment_that_is_wrong_is_refused_with_its_place(when: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)) as caught:
        compile_one(when)
    assert caught.value.reason == "RULES_INVALID"
    assert str(caught.value).startswith("segments.x.when")
