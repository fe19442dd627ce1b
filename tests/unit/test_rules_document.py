"""The document of rules: what may stand in it, and what is kept of it."""

import pytest

from services.identity.domain.rules_document import document_of, read, rules_of, to_json
from services.identity.graph.rules import DEFAULT_RULES
from services.identity.tables.rulebook import fold
from shared.errors import InvalidInput
from shared.identifiers import hash_of, normalise

KEY = b"k" * 32


def test_the_shipped_rules_are_a_document() -> None:
    assert rules_of(read(to_json(document_of(DEFAULT_RULES)), KEY), DEFAULT_RULES.version) == DEFAULT_RULES
    assert fold([])[-1].rules == DEFAULT_RULES


def test_the_place_of_the_star_is_how_strong_those_are_that_are_not_listed() -> None:
    rules = rules_of(read('{"namespaces": [{"name": "a"}, {"name": "*"}, {"name": "b"}]}', KEY), 2)
    assert sorted(["b", "crm", "a"], key=rules.rank) == ["a", "crm", "b"]


def test_of_a_blocked_value_the_keyed_hash_of_its_normal_form_is_kept() -> None:
    text = '{"namespaces": [{"name": "email", "blocked": [" Info@Shop.example", "null", "000"]}, {"name": "*"}]}'
    kept = read(text, KEY)
    assert rules_of(kept, 2).blocked == {hash_of(normalise("email", "info@shop.example"), KEY)}
    assert "info" not in to_json(kept).lower()
    assert read(to_json(kept), KEY) == kept


@pytest.mark.parametrize(
    ("namespaces", "said"),
    [
        ("[]", 'the namespace "*" once'),
        ('[{"name": "*"}, {"name": "*"}]', 'the namespace "*" once'),
        ('[{"name": "*"}, {"name": "a"}, {"name": "a"}]', "each namespace once"),
        ('[{"name": "*", "limit": 0}]', "limit is 1"),
        ('[{"name": "*", "shared_after": -1}]', "shared_after is 1"),
        ('[{"name": "*", "window_days": 7}]', "needs a limit"),
        ('[{"name": "*", "unknown": 7}]', "unknown"),
        ('[{"name": "*", "limit": 7, "limit": 8}]', "limit stands twice"),
        ('[{"name": "*"}, {"name": "a b"}]', "letters"),
        ('[{"name": "*"}, {"name": "email", "blocked": ["ann"]}]', "blocked value 1 of email"),
        ('[{"name": "*"}, {"name": "email", "blocked_hashes": ["ann"]}]', "hexadecimal"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(namespaces: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(f'{{"namespaces": {namespaces}}}', KEY)
    assert refused.value.reason == "RULES_INVALID"
    assert said in refused.value.message


def test_a_value_is_owned_by_other_kinds_than_its_own() -> None:
    rules = '{"namespaces": [{"name": "email", "owned_by": ["%s"]}, {"name": "*"}]}'
    assert rules_of(read(rules % "user_id", b"key" * 11), 2).of("email").owned_by == ("user_id",)
    for name in ("email", "*", ""):
        with pytest.raises(InvalidInput, match="owned_by"):
            read(rules % name, b"key" * 11)
