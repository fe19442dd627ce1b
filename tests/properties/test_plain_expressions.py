"""Law of plain expressions: read as they are, they come to what the runtime comes to, whatever an event has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.events import EVENT
from services.profile.domain.expressions.language import Kind, Language
from services.profile.domain.expressions.plain import ASK

LANGUAGE = Language(EVENT)
TEXTS = ["", "a", "b", "Order Completed", "7", "1e3", "nan"]
CONDITIONS = [
    "event.name == 'a'",
    "'b' == event.name",
    "event.name == 'a' && event.type == 'b'",
    "event.name == 'a' || (event.type == 'b' && event.source == '')",
    "event.type in ['a', 'b']",
    "event.type in []",
]
VALUES = [
    "event.properties.a",
    "event.properties.a.b",
    "event.traits.a.b.a",
    "double(event.properties.a)",
    "double(event.properties.a.b)",
]
NOT_PLAIN = ["has(event.properties.a)", "event.properties.a == 'a'", "event.name.contains('a')", "event.name != 'a'", "double('7')"]
numbers = st.one_of(
    st.integers(-(2**63) - 2, 2**64 - 1), st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(2**63)]), st.floats(allow_nan=False)
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(TEXTS), st.text(max_size=3))
json = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=5,
)
maps = st.dictionaries(st.sampled_from("ab"), json, max_size=2)
contents = st.fixed_dictionaries(
    {f"event.{name}": st.sampled_from(TEXTS) for name in ("name", "type", "source")}
    | {"event.properties": maps, "event.traits": maps}
)


@pytest.mark.parametrize("text", CONDITIONS + VALUES)
def test_a_plain_expression_comes_to_what_the_runtime_comes_to(text: str) -> None:
    expression = LANGUAGE.compile(text, "here", *([Kind.BOOL] if text in CONDITIONS else []))
    assert expression._plain is not None

    @given(contents)
    def law(content: dict[str, Any]) -> None:
        found, asked = expression.evaluate(LANGUAGE.values(content)), expression._evaluated(LANGUAGE.values(content))
        assert repr(found) == repr(asked), "of one type, and the same"

    law()


@pytest.mark.parametrize("text", NOT_PLAIN)
def test_what_isnt_plain_is_left_to_the_runtime(text: str) -> None:
    assert LANGUAGE.compile(text, "here")._plain is None


def test_a_text_in_place_of_a_number_is_left_to_the_runtime() -> None:
    expression = LANGUAGE.compile("double(event.properties.a)", "here")
    content = {"event.properties": {"a": "1e3"}}
    assert expression._plain is not None
    assert expression._plain(content) is ASK
    assert expression.evaluate(LANGUAGE.values(content)) == 1000.0
