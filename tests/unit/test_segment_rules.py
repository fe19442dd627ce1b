"""Segment's identity resolution settings as our rules."""

import json
from typing import Any

import pytest

from services.cli.errors import Misused
from services.cli.segment_rules import to_document
from services.identity.domain.rules_document import read, rules_of
from shared.instants import DAY

KEY = b"k" * 32
DEFAULTS = [
    {"type": "user_id", "limit": 1, "frequency": "Ever", "priority": 1, "blocked_values": ["anonymous", "-1", "^[0\\-]*$"]},
    {"type": "anonymous_id", "limit": 5, "frequency": "Weekly", "priority": 3},
    {"type": "email", "limit": "5", "frequency": "Ever", "priority": 2, "blocked_values": ["info@shop.example"]},
]


def test_segments_settings_are_expressed_and_can_be_activated() -> None:
    rules = rules_of(read(json.dumps(to_document(json.dumps({"identifiers": DEFAULTS}))), KEY), 2)
    assert [namespace.name for namespace in rules.namespaces] == ["user_id", "email", "anonymous_id"]
    assert [namespace.limit for namespace in rules.namespaces] == [1, 5, 5]
    assert [namespace.window_us for namespace in rules.namespaces] == [None, None, 7 * DAY]
    assert [namespace.device for namespace in rules.namespaces] == [False, False, True]
    assert len(rules.blocked) == 1
    assert rules.of("crm").limit == 5
    assert rules.rank("crm") > rules.rank("anonymous_id")


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        ({"type": "email", "blocked_values": ["^test.*$"]}, "NOT_EXPRESSIBLE"),
        ({"type": "email", "frequency": "Hourly"}, "NOT_EXPRESSIBLE"),
        ({"type": "email", "merge_protection": True}, "NOT_EXPRESSIBLE"),
        ({"type": "email", "limit": "many"}, "SETTINGS_INVALID"),
        ({"limit": 1}, "SETTINGS_INVALID"),
    ],
)
def test_what_cannot_be_expressed_says_so(one: dict[str, Any], reason: str) -> None:
    with pytest.raises(Misused) as refused:
        to_document(json.dumps([one]))
    assert refused.value.reason == reason


def test_nothing_beside_the_identifiers_is_dropped() -> None:
    with pytest.raises(Misused, match="blockedValues") as refused:
        to_document(json.dumps({"identifiers": DEFAULTS, "blockedValues": ["nobody@shop.example"]}))
    assert refused.value.reason == "NOT_EXPRESSIBLE"
