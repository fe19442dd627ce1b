"""Expressions say where they are wrong, have no value where data is missing, and can't cost more than their size allows."""

import re
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.events import EVENT
from services.profile.domain.computed.names import event_names
from services.profile.domain.expressions.bounds import MAX_CHARACTERS
from services.profile.domain.expressions.language import Kind, Language
from shared.errors import InvalidInput

LANGUAGE = Language(EVENT | {"now": Kind.TIMESTAMP})
ITEMS = [{"sku": "a", "price": 3}, {"sku": "b", "price": 4.5}]
ORDER: dict[str, Any] = {
    "event.name": "Order Completed",
    "event.type": "track",
    "event.properties": {"total": 7.5, "items": ITEMS, "at": "2026-03-03", "huge": 2**70, "nothing": None},
    "event.occurred_at": datetime(2026, 3, 3, 6, 30, tzinfo=UTC),
    "now": datetime(2026, 4, 1, tzinfo=UTC),
}


def evaluate(text: str) -> Any:
    return LANGUAGE.compile(text, "computed.x.of").evaluate(LANGUAGE.values(ORDER))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("event.name == 'Order Completed' && event.properties.total > 5", True),
        ("event.properties.items.exists(item, item.sku == 'b')", True),
        ("event.properties.items.map(item, item.price > 4, item.sku)[0]", "b"),
        ("event.properties.items", None),
        ("event.properties.nothing", None),
        ("event.occurred_at.getHours('Europe/Berlin') < 10", True),
        ("now - event.occurred_at > duration('100h')", True),
        ("event.properties.at < now - duration('24h')", True),
        ("now > event.properties.at", True),
        ("instant(event.properties.at).getMonth()", 2),
        ("[event.properties.at].exists(at, instant(at) < timestamp('2026-03-03T00:00:01Z'))", True),
        ("instant(event.properties.total) < now", None),
        ("event.properties.missing == 1", None),
        ("event.properties.missing == 1 || event.type == 'track'", True),
        ("has(event.properties.missing)", False),
        ("event.properties.total < 'a'", None),
        ("event.properties.total < now", None),
        ("event.properties.huge > 1.0e20", True),
        ("event.category == 'x'", None),
    ],
)
def test_an_expression_has_a_value_or_none(text: str, value: Any) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("event.nmae == 'x'", "computed.x.of, line 1, column 6: undeclared reference to 'event.nmae'"),
        ("event.name +\n 1", "computed.x.of, line 1, column 12: found no matching overload"),
        ("event.name ==", "computed.x.of, line 1, column 14: Syntax error"),
        ("(" * 60 + "true" + ")" * 60, "nested too deeply"),
        ("{2.5: event.name}", "a map has keys that can't be any"),
        ("true || " * MAX_CHARACTERS + "true", "at most 2000 characters"),
        ("event.properties.items.map(a, event.properties.items)", "inside a macro only its own variable is looked at"),
        ("event.properties.items.map(a, a + a)", "inside a macro only numbers are added"),
        ("event.properties.items.map(a, a).map(a, [a, a])", "holds no other macro"),
        ("event.properties.items.all(a, a.all(b, b))", "holds no other macro"),
        ("event.name.matches(event.source)", "the pattern of matches is written in the expression"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)) as caught:
        LANGUAGE.compile(text, "computed.x.of")
    assert caught.value.reason == "RULES_INVALID"


def test_the_type_is_known_before_anything_is_evaluated() -> None:
    with pytest.raises(InvalidInput, match="it has to be bool, and is string"):
        LANGUAGE.compile("event.name", "segments.x.when", Kind.BOOL)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("event.properties.at >\n now - duration('30d')", "computed.x.of, line 2, column 16: a duration is written in hours"),
        ("event.properties.at > timestamp('2026-11-01')", "line 1, column 32: an instant is written with its time and offset"),
        ("instant('soon') < now", "line 1, column 8: an instant is written such as"),
        ("event.occurred_at.getHours('Europe/Berln') < 25", "line 1, column 28: a time zone is named such as"),
        ("event.properties.at.getHours('Europe/Berln') < 25", "line 1, column 30: a time zone is named such as"),
        ("event.name.matches('(')", "line 1, column 20: a pattern is a regular expression"),
        ("event.properties.items.exists(item, item.sku.matches('('))", "line 1, column 54: a pattern"),
        ("{'k': instant('2026-01-01')}.k.getHours('UTC') == 1", "line 1, column 40: this has no value"),
        ("event.properties.total > int('x')", "line 1, column 29: this has no value"),
        ("event.properties.a + event.properties.b", "line 1, column 20: true or false is due here"),
        ("dyn('x')", "line 1, column 4: true or false is due here"),
        ("event.type == 'a' ? event.properties.b * event.properties.a : -event.properties.c", "true or false is due here"),
        ("has(event.properties.a) && !(-event.properties.a)", "line 1, column 30: true or false is due here"),
    ],
)
def test_what_can_never_hold_is_told_with_its_place(text: str, told: str) -> None:
    expression = LANGUAGE.compile(text, "computed.x.of", Kind.BOOL, Kind.DYN)
    with pytest.raises(InvalidInput, match=re.escape(told)) as caught:
        LANGUAGE.check(expression, "computed.x.of", is_condition=True)
    assert caught.value.reason == "RULES_INVALID"


@pytest.mark.parametrize(
    "text",
    [
        "event.properties.a",
        "event.properties['a']",
        "event.properties.items[0].a || event.properties.b",
        "event.type == 'a' ? event.properties.b : -event.properties.c",
        "event.name.matches('^a+$') && event.occurred_at.getHours('+02:00') == 1",
        "event.properties.at.getHours('Europe/Berlin') == 1 && now - instant('2026-01-31') > duration('1h')",
        "event.properties.items.all(item, item.a)",
    ],
)
def test_what_may_hold_of_some_data_is_taken(text: str) -> None:
    LANGUAGE.check(LANGUAGE.compile(text, "computed.x.of", Kind.BOOL, Kind.DYN), "computed.x.of", is_condition=True)


def test_a_macro_ends_after_its_rounds() -> None:
    crowded = LANGUAGE.values(ORDER | {"event.properties": {"items": list(range(60_000))}})
    assert LANGUAGE.compile("event.properties.items.exists(a, a < 0)", "x").evaluate(crowded) is None


@pytest.mark.parametrize(
    "text",
    ["event.properties.nothing", "null", "[null]", "event.properties", "event.properties.missing", "event.properties.nothing == 1"],
)
def test_nulls_can_be_met_any_number_of_times(text: str) -> None:
    """Where None isn't immortal, a library that gives back references that it never took ends the process."""
    expression = LANGUAGE.compile(text, "x")
    before = sys.getrefcount(None)
    for _ in range(5_000):
        expression.evaluate(LANGUAGE.values(ORDER))
    assert sys.getrefcount(None) > before - 1_000


texts = st.recursive(
    st.sampled_from(["event.properties.items", "event.properties", "event.name", "a", "1", "'text'", "now", "duration('1h')"]),
    lambda below: st.one_of(
        st.builds("[{}, {}]".format, below, below),
        st.builds("({} + {})".format, below, below),
        st.builds("{}.map(a, {})".format, below, below),
        st.builds("{}.exists(a, {} == {})".format, below, below, below),
        st.builds("{} in {}".format, below, below),
        st.builds("({} ? {} : {})".format, below, below, below),
        st.builds("string({}).matches({})".format, below, below),
    ),
    max_leaves=30,
)


def size_of(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + (len(value) if isinstance(value, str) else 0) + sum(map(size_of, parts))


@given(texts)
def test_no_expression_makes_more_of_an_event_than_its_own_size_allows(text: str) -> None:
    try:
        expression = LANGUAGE.compile(text, "computed.x.of")
    except InvalidInput:
        return
    nodes = sum(1 for _ in expression.tree.root.walk())
    properties = {"items": ITEMS}  # without nulls: what is taken out here is all of it
    result = expression._compiled.eval(LANGUAGE.values(ORDER | {"event.properties": properties}).activation)
    assert size_of(result.plain_value()) <= nodes * size_of([properties, ORDER["event.name"]])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("event.name == 'a' && event.properties.total > 3", {"a"}),
        ("'a' == event.name", {"a"}),
        ("event.name in ['a', 'b']", {"a", "b"}),
        ("event.name == 'a' || event.name == 'b' && event.type == 'track'", {"a", "b"}),
        ("event.name == 'a' && event.name in ['b', 'a']", {"a"}),
        ("event.name == 'a' || event.type == 'page'", None),
        ("event.name != 'a'", None),
        ("!(event.name == 'a')", None),
        ("event.name == 'a' ? true : event.type == 'page'", None),
        ("event.name == event.category", None),
    ],
)
def test_which_names_an_event_must_have_is_read_from_the_condition(text: str, names: set[str] | None) -> None:
    assert event_names(LANGUAGE.compile(text, "x").tree.root) == names


@pytest.mark.parametrize(
    "text",
    [
        "instant(instant(event.properties.at)) < now",
        "instant(string(instant(event.properties.at))) < now",
        "dyn(event.properties.at < now) < now",
    ],
)
def test_what_is_read_as_an_instant_holds_no_other(text: str) -> None:
    """Each is written out three times: thirty of them, one in the other, would be more than there are atoms."""
    with pytest.raises(InvalidInput, match="holds no other"):
        LANGUAGE.compile(text, "computed.x.of")
