"""What may stand in a document of the rules of profiles, and what people are told of what may not."""

import json
from typing import Any

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
        ('{"traits": {"email": {"type": "number", "verified_first": true}}}', "email: verified_first is for texts"),
        ('{"traits": {"plan": {"rule": "first"}}, "default": {"rule": "first"}}' + " " * 256_000, "256000 bytes"),
    ],
)
def test_a_document_that_says_what_cannot_be_is_refused_with_what_is_wrong(document: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(document)
    assert refused.value.reason == "RULES_INVALID"
    assert told in refused.value.message


COUNTED = {"of": "event.name == 'Order Completed'", "aggregate": "count"}
TAKEN = COUNTED | {"aggregate": "first", "value": "event.properties.sku"}
SCORED = {"recency": ["30d", "90d", "180d", "365d"], "frequency": [2, 3, 5, 10], "monetary": [50, 100, 250, 500]}
RFM = COUNTED | {"aggregate": "rfm", "value": "double(event.properties.total)", "scores": SCORED}


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"of": "event.type == 'purchase'"}, ".of, line 1, column 12: the type of an event is alias, group, identify, page,"),
        ({"of": "event.type == 'track' && event.type == 'page'"}, ".of, line 1, column 37: this can't hold"),
        ({"of": "event.type == 'identify' && event.name == 'Paid'"}, ".of, line 1, column 26: no event has all that this asks for"),
        ({"of": "event.type == 'track' && event.traits.plan == 'a'"}, "event.traits is of group, identify"),
        ({"of": "1 > 2"}, ".of: it holds for nothing"),
        ({"of": "event.name == 'a' || size(event.properties.items) < 0"}, "the size of event.properties.items is 0 or more"),
        ({"of": "event.name == 'a' || (event.type == 'track' && event.type == 'page')"}, "column 59: this can't hold"),
        ({"of": "event.name == 'a' && false"}, "column 22: this can't hold"),
        ({"value": "event.traits.total"}, ".value, line 1, column 13: no event that counts has it"),
        ({"value": "event.properties"}, ".value: it is map<string, dyn>, and never one of int, uint, double, bool, string"),
        ({"value": "event.name", "aggregate": "sum"}, ".value: it is string, and never one of int, uint, double"),
        (RFM | {"scores": SCORED | {"recency": ["90d", "30d", "180d", "365d"]}}, ".scores.recency: the bounds of scores rise"),
    ],
)
def test_a_computed_trait_that_no_event_can_count_for_is_refused(definition: dict[str, Any], told: str) -> None:
    read(json.dumps({"computed": {"x": TAKEN, "rfm": RFM}}))
    with pytest.raises(InvalidInput) as refused:
        read(json.dumps({"computed": {"x": TAKEN | definition}}))
    assert refused.value.message.startswith("computed.x.")
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("traits.a == 1 && (traits.b > 1 && traits.a == 2)", "column 44: this can't hold, or not with what stands before it"),
        ("traits.a == 'x' && traits.a > 3", "column 29: this can't hold"),
        ("computed.n > 5 && computed.n <= 5", "column 30: this can't hold"),
        ("traits.a in []", "column 10: this can't hold"),
        ("computed.n < 0", "column 12: computed.n is a number of events or values, and never below 0"),
        ("computed.rfm.recensy_score > 3", "computed.rfm has no recensy_score; it has frequency,"),
        ("traits.tags == 'vip'", "column 13: by its rule traits.tags is of type list, and never this"),
        ("traits.age >= '18'", "by its rule traits.age is of type number"),
        ("traits.a == 'x' && traits.age", "by its rule traits.age is of type number, and so neither true nor false"),
        ("traits.other == 3", "by its rule traits.other is of type text"),
        ("traits.age > traits.age", "column 12: this can't hold"),
        ("now - duration('1h') < now - duration('1h')", "column 22: this can't hold"),
        ("traits.a != traits.a", "column 10: this can't hold"),
        ("traits.a == 'x' || (traits.b == 'x' && traits.b == 'y')", "column 49: this can't hold"),
        ("traits.a == 'x' && (traits.b == 'x' || traits.a == 'y')", "column 49: this can't hold"),
        ("computed.since < duration('0s')", "column 16: computed.since is how long ago something was, and never below 0"),
        ("traits.a == 'x' || duration('1h') - duration('2h') >= computed.since", "computed.since is how long ago"),
        ("size(computed.skus) > 200", "column 21: the size of computed.skus is 0 or more, and 200 at most"),
        ("size(computed.sku) == 257", "the size of computed.sku is 0 or more, and 256 at most"),
        ("size(traits.a) >= 4097", "the size of traits.a is 0 or more, and 4096 at most"),
        ("1001 <= size(traits.tags)", "the size of traits.tags is 0 or more, and 1000 at most"),
        ("traits.a == 'x' || size(traits.a) < 0", "the size of traits.a is 0 or more"),
    ],
)
def test_a_segment_that_nobody_can_be_in_is_refused(when: str, told: str) -> None:
    rules: dict[str, Any] = {
        "default": {"type": "text"},
        "traits": {"a": {}, "b": {}, "tags": {"rule": "union"}, "age": {"type": "number"}, "born": {"type": "instant"}},
        "computed": {
            "n": COUNTED,
            "rfm": RFM,
            "since": COUNTED | {"aggregate": "time_since"},
            "sku": TAKEN,
            "skus": TAKEN | {"aggregate": "unique_list"},
        },
    }
    may_hold = (
        "'vip' in traits.tags && traits.age > 3 && traits.age < 9 && traits.born != 3 && traits.born < '2000' && computed.n == 0"
        " && (traits.a == 'x' || traits.a == 'y' || false) && computed.since <= duration('0s') && traits.a != traits.b"
        " && size(computed.skus) <= 200 && size(computed.skus) >= 200 && size(traits.a) == 4096 && size(traits.tags) != 5000"
        " && now < timestamp('2020-01-01T00:00:00Z')"
    )
    read(json.dumps(rules | {"segments": {"x": {"when": may_hold}}}))
    with pytest.raises(InvalidInput) as refused:
        read(json.dumps(rules | {"segments": {"x": {"when": when}}}))
    assert refused.value.message.startswith("segments.x.when, line 1")
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("when", "column"),
    [("> 1000", 17), (">= 1001", 17), ("== 1100", 17), ("< 1001", 17), ("<= 5000", 17), (">= 1000", 0), ("> 999", 0), ("< 1", 0)],
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
