"""What may stand in a document of the rules of profiles, and what people are told of what may not."""

import pytest

from services.profile.domain.rules import PLAIN, Keeping, fold_digest
from services.profile.domain.rules_document import SHIPPED_RULES, read, rules_of, to_json
from shared.errors import InvalidInput


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "not JSON"),
        ('{"segment": {}}', "segment"),
        ('{"default": {"rule": "latest"}}', "latest"),
        ('{"traits": {"": {}}}', "name"),
        ('{"traits": {"plan": {"rule": "source_priority"}}}', "plan: source_priority"),
        ('{"traits": {"plan": {"sources": ["crm"]}}}', "plan: source_priority"),
        ('{"traits": {"plan": {"rule": "source_priority", "sources": ["crm", "crm"]}}}', "once"),
        ('{"traits": {"size": {"rule": "max"}}}', "size: max needs a type"),
        ('{"traits": {"size": {"rule": "longest", "type": "number"}}}', "text, list"),
        ('{"traits": {"tags": {"rule": "union", "type": "list"}}}', "tags: union"),
        ('{"traits": {"address": {"rule": "first", "by_field": true, "type": "text"}}}', "by_field is for objects"),
        ('{"traits": {"city": {"verified_first": true}}}', "email and phone"),
        ('{"default": {"verified_first": true}}', "email and phone"),
        ('{"traits": {"plan": {}, "pl\\u0061n": {"rule": "first"}}}', "plan stands twice"),
        ('{"segments": {"new": {"when": "true"}, "new": {"when": "false"}}}', "new stands twice"),
        ('{"traits": {}, "segments": {}, "traits": {}}', "traits stands twice"),
        (
            '{"segments": {"new": {"when": "traits.signed_up_at > now - duration(\'30d\')"}}}',
            "segments.new.when, line 1, column 37: a duration",
        ),
        ('{"segments": {"sum": {"when": "traits.a + traits.b"}}}', "segments.sum.when, line 1, column 10: true or false"),
        ('{"computed": {"n": {"of": "event.name.matches(\'(\')", "aggregate": "count"}}}', "computed.n.of, line 1, column 20"),
        (
            '{"computed": {"n": {"of": "true", "value": "int(\'x\')", "aggregate": "sum"}}}',
            "computed.n.value, line 1, column 4: this has no value",
        ),
        ('{"traits": {"plan": {"rule": "first"}}, "default": {"rule": "first"}}' + " " * 256_000, "256000 bytes"),
    ],
)
def test_a_document_that_says_what_cannot_be_is_refused_with_what_is_wrong(document: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(document)
    assert refused.value.reason == "RULES_INVALID"
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("when", "column"),
    [("> 1000", 17), (">= 1001", 17), ("== 1100", 17), ("< 1001", 17), ("<= 5000", 17), (">= 1000", 0), ("> 999", 0), ("< -1", 0)],
)
def test_a_count_of_a_window_is_not_compared_with_what_it_never_comes_to(when: str, column: int) -> None:
    text = """{"computed": {"lately": {"of": "true", "aggregate": "count", "window": "30d"}, "ever": {"of": "true", "aggregate": "count"}},
               "segments": {"busy": {"when": "computed.lately %s && computed.ever > 5000"}}}"""
    if not column:
        read(text % when)
        return
    with pytest.raises(InvalidInput) as refused:
        read(text % when)
    assert refused.value.message.startswith(f"segments.busy.when, line 1, column {column}: computed.lately comes to 1000 at most")


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (
            '{"computed": {"n": {"of": "true", "aggregate": "count"}, "visit": {"of": "true", "aggregate": "bogus"}}}',
            "computed.visit.aggregate: invalid enum value 'bogus'",
        ),
        ('{"computed": {"visit": {"aggregate": "count"}}}', "computed.visit: object missing required field `of`"),
        ('{"computed": {"visit": []}}', "computed.visit: expected `object`, got `array`"),
        (
            '{"computed": {"v": {"of": "true", "aggregate": "count", "window": {"session": 3}}}}',
            "computed.v.window.session: expected `str`, got `int`",
        ),
        (
            '{"computed": {"v": {"of": "true", "aggregate": "lifetime_value", "model": {"r": "x"}}}}',
            "computed.v.model.r: expected `float`, got `str`",
        ),
        ('{"segments": {"new": {"when": 1}}}', "segments.new.when: expected `str`, got `int`"),
        ('{"traits": {"plan": {}, "a`[...]b": {"sources": ["crm", 3]}}}', "traits.a`[...]b.sources[1]: expected `str`, got `int`"),
        ('{"segments": {"%s": 1}}' % ("n" * 1_000), f"segments.{'n' * 64}: expected `object`, got `int`"),
        ('{"computed": []}', "computed: expected `object`, got `array`"),
        ('{"default": {"rule": "latest"}}', "default.rule: invalid enum value 'latest'"),
        ('{"segment": {}}', "Object contains unknown field `segment`"),
        ('{"segments": {"new": 1}, ', "segments[...]: expected `object`, got `int`"),
        ('{"segments": {"new": 1, "new": {"when": "true"}}}', "segments[...]: expected `object`, got `int`"),
        ('{"segments": {"new": ' + "[" * 100_000, "segments[...]: expected `object`, got `array`"),
    ],
)
def test_what_has_the_wrong_shape_is_told_by_its_name(document: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(document)
    assert (refused.value.reason, refused.value.message) == ("RULES_INVALID", told)


def test_without_rules_of_your_own_the_fold_keeps_what_it_always_kept() -> None:
    assert rules_of(read("{}"), 1).keeping == SHIPPED_RULES.keeping == PLAIN


def test_a_change_that_only_chooses_differently_keeps_the_same() -> None:
    changed = rules_of(read('{"traits": {"plan": {"rule": "source_priority", "sources": ["crm"]}}}'), 2)
    assert fold_digest(changed.keeping) == fold_digest(PLAIN)


@pytest.mark.parametrize("default", ["most_recent", "first"])
def test_of_each_trait_all_is_kept_exactly_when_its_rule_needs_it(default: str) -> None:
    text = f'{{"default": {{"rule": "{default}"}}, "traits": {{"a": {{"rule": "first"}}, "b": {{"type": "text"}}, "c": {{}}}}}}'
    keeping = rules_of(read(text), 1).keeping
    assert [keeping.keeps_all(name) for name in ("a", "b", "c", "other")] == [True, True, False, default == "first"]
    assert fold_digest(keeping) != fold_digest(Keeping(frozenset("a"), keeping.others))


def test_what_was_read_is_not_compiled_again() -> None:
    """Activating it happens where others wait."""
    text = '{"computed": {"orders": {"of": "true", "aggregate": "count"}}, "segments": {"buyers": {"when": "computed.orders > 0"}}}'
    document = read(text)
    once, again = rules_of(document, 2), rules_of(read(to_json(document)), 3)
    assert once.computed is again.computed
    assert once.segments is again.segments
