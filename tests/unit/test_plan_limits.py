"""What is refused when a plan is published, so that no event can ever hang or end the door."""

import json
from typing import Any

import pytest

from services.ingest.domain.plan import MAX_PLACE, Plan, compile_plan
from shared.errors import InvalidInput
from shared.events.wire import RawEvent


def doubling(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": defs | {f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"allOf": [schema]}
    return schema


def chain(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(levels)}
    return {"$defs": defs | {f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


def dynamic(levels: int) -> dict[str, Any]:
    defs: dict[str, Any] = {
        f"d{n}": {"$dynamicAnchor": f"a{n}", "allOf": [{"$dynamicRef": f"#a{n + 1}"}] * 2} for n in range(levels)
    }
    return {"$defs": defs | {f"d{levels}": {"$dynamicAnchor": f"a{levels}"}}, "$dynamicRef": "#a0"}


def identify_plan(schema: dict[str, Any], **rules: str) -> Plan:
    return compile_plan(json.dumps({"traits": {"identify": schema}, "rules": rules}), 1, "")


def identify(**traits: Any) -> RawEvent:
    return RawEvent(kind="identify", message_id="m", source="crm", user_id="u", traits=traits, occurred_at=1, received_at=1)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a\0b": {"type": "string"}}},
        {"properties": {"a" * 301: {}}},
        {"properties": {"a": {"pattern": "a" * 1001}}},
        {"properties": {"a": {"pattern": "((a{100}){100}){100}"}}},
        doubling(40),
        dynamic(40),
        nested(200),
        chain(5_000),
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
        {"$ref": "#/$defs/none"},
        {"$defs": {"a": {"$id": "https://example.com/a"}}},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_a_schema_that_could_hang_or_end_the_door_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        identify_plan(schema)
    assert refused.value.reason == "PLAN_INVALID"


@pytest.mark.parametrize(
    "schema",
    [
        doubling(8),
        chain(30),
        {"properties": {"$ref": {"type": "string"}, "const": {"$ref": "#/$defs/e~1f"}}, "$defs": {"e/f": {"enum": [{"$ref": 1}]}}},
        {"$defs": {"a": {"$anchor": "here", "type": "object"}}, "$ref": "#here"},
    ],
    ids=lambda schema: str(schema)[:40],
)
def test_references_inside_a_schema_are_fine(schema: dict[str, Any]) -> None:
    assert identify_plan(schema, unplanned_trait="allow").judge(identify(a=1)).action == "allow"


@pytest.mark.parametrize(
    "document",
    [
        {"events": {"E\0": {}}},
        {"events": {"E" * 301: {}}},
        {"standardisation": {"traits": {"a\0": {}}}},
        {"standardisation": {"traits": {"a": {"from": ["b\n"]}}}},
    ],
    ids=str,
)
def test_names_are_short_and_printable(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        compile_plan(json.dumps(document), 1, "")
    assert refused.value.reason == "PLAN_INVALID"


def test_a_place_is_short() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for n in range(9):
        schema = {"properties": {f"{n}" * 200: schema}}
    value: Any = 1
    for n in range(9):
        value = {f"{n}" * 200: value}
    [found] = identify_plan(schema, unplanned_trait="allow").judge(identify(**value)).findings
    assert len(found.place) == MAX_PLACE


def test_of_an_event_with_very_many_errors_the_first_is_told() -> None:
    """All of them would be found before the first is told: seconds of a process that judges for everybody."""
    plan = identify_plan({"properties": {"a": {"type": "array", "items": {"type": "string"}}}})
    assert [found.place for found in plan.judge(identify(a=[1] * 16_000)).findings] == ["identify/properties/a/items/type"]
    assert len(plan.judge(identify(a=[1] * 10)).findings) == 10
