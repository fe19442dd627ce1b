"""Where an event breaks its plan: names of fields, and never a value."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.breaches import breaches_of
from services.ingest.domain.plan import MAX_FINDINGS, Unreadable, compile_plan
from shared.events.wire import RawEvent

RULES = {
    "schema_violation": "quarantine",
    "unplanned_event": "block",
    "unplanned_property": "flag",
    "unplanned_trait": "flag",
    "coercion_failed": "quarantine",
}


def track(**properties: Any) -> RawEvent:
    return RawEvent(kind="track", name="Bought", message_id="m", source="s", occurred_at=1, received_at=1, properties=properties)


def pointers(document: dict[str, Any], event: RawEvent) -> list[tuple[str, str]]:
    plan = compile_plan(json.dumps({"rules": RULES, **document}), 1, "")
    return [(breach.rule, breach.pointer) for breach in breaches_of(plan, event, plan.judge(event).findings)]


def of_schema(schema: dict[str, Any], **properties: Any) -> list[str]:
    return [pointer for _, pointer in pointers({"events": {"Bought": {"properties": schema}}}, track(**properties))]


NESTED = {"properties": {"items": {"type": "array", "items": {"properties": {"price": {"type": "number"}}}}}}


@pytest.mark.parametrize(
    ("schema", "properties", "expected"),
    [
        ({"required": ["a", "b"]}, {}, ["/properties/a", "/properties/b"]),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, ["/properties/a"]),
        (NESTED, {"items": [{"price": 1}, {"price": "x"}]}, ["/properties/items/1/price"]),
        ({"additionalProperties": False, "patternProperties": {"": {}}}, {"a": 1}, []),
        (
            {"properties": {"in": {"properties": {"c": {}}, "additionalProperties": False}}},
            {"in": {"a": 1, "b": 2}},
            ["/properties/in/a", "/properties/in/b"],
        ),
        ({"properties": {"a/b~": {"type": "string"}}}, {"a/b~": 1}, ["/properties/a~1b~0"]),
        ({"minProperties": 1}, {}, ["/properties"]),
    ],
)
def test_a_pointer_leads_to_what_is_wrong(schema: dict[str, Any], properties: dict[str, Any], expected: list[str]) -> None:
    assert of_schema(schema, **properties) == expected


def test_every_unplanned_field_is_named_and_an_unplanned_event_by_its_field() -> None:
    assert of_schema({"properties": {"a": {}}}, a=1, b=2, c=3) == ["/properties/b", "/properties/c"]
    assert pointers({"events": {}}, track()) == [("UNPLANNED_EVENT", "/event")]


def test_what_cannot_be_coerced_is_named_as_it_was_sent() -> None:
    fields = {"total": {"from": ["Sum"], "as": "number"}}
    assert pointers({"standardisation": {"properties": fields}}, track(Sum="x")) == [("COERCION_FAILED", "/properties/Sum")]
    assert pointers({"standardisation": {"properties": fields}}, track(total="x")) == [("COERCION_FAILED", "/properties/total")]


def test_a_plan_that_cannot_be_read_names_no_place() -> None:
    plan = Unreadable(1)
    [breach] = breaches_of(plan, track(), plan.judge(track()).findings)
    assert (breach.rule, breach.place, breach.pointer) == ("UNREADABLE", "", "")


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.just("canary"), st.lists, max_leaves=5)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=30))
def test_no_value_is_shown_and_no_event_has_too_many(properties: dict[str, Any]) -> None:
    schema = {"properties": {"a": {"type": "string", "enum": ["x"]}}, "patternProperties": {"[b-m]": {"const": 1}}}
    event = track(**{"note": "canary"} | properties)
    plan = compile_plan(json.dumps({"rules": RULES, "events": {"Bought": {"properties": schema}}}), 1, "")
    findings = plan.judge(event).findings
    found = breaches_of(plan, event, findings)
    assert {breach.rule for breach in found} == {finding.rule for finding in findings} or len(found) == MAX_FINDINGS
    assert len(found) <= MAX_FINDINGS
    assert "canary" not in str(found)
