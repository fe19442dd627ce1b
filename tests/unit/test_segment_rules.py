"""Segment's identity resolution settings as our rules."""

import json
from typing import Any

import pytest

from services.cli.errors import Misused
from services.cli.segment_rules import printed, to_document
from services.identity.domain.rules_document import read, rules_of
from shared.errors import InvalidInput
from shared.instants import DAY

KEY = b"k" * 32
DEFAULTS = [
    {"type": "user_id", "limit": 1, "frequency": "Ever", "priority": 1, "blocked_values": ["anonymous", "-1", "^[0\\-]*$"]},
    {"type": "anonymous_id", "limit": 5, "frequency": "Weekly", "priority": 3},
    {"type": "email", "limit": "5", "frequency": "Ever", "priority": 2, "blocked_values": ["info@shop.example"]},
]


def test_segments_settings_are_expressed_and_can_be_activated() -> None:
    rules = rules_of(read(json.dumps(to_document(json.dumps({"identifiers": DEFAULTS})).document), KEY), 2)
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
        ({"type": "email", "blocked_values": ["test.+"]}, "NOT_EXPRESSIBLE"),
        ({"type": "email", "limit": "many"}, "SETTINGS_INVALID"),
        ({"type": "email", "limit": "\N{SUPERSCRIPT TWO}"}, "SETTINGS_INVALID"),
        ({"type": "email", "limit": 10**20}, "SETTINGS_INVALID"),
        ({"type": "email", "blocked_values": [], "blockedValues": ["info@shop.example"]}, "SETTINGS_INVALID"),
        ({"type": "email", "frequency": "Ever", "window": "Daily"}, "SETTINGS_INVALID"),
        ({"type": "a b/c"}, "SETTINGS_INVALID"),
        ({"type": "android.id "}, "SETTINGS_INVALID"),
        ({"limit": 1}, "SETTINGS_INVALID"),
        ({"type": "email", "name": "phone"}, "SETTINGS_INVALID"),
        ({"type": "email", "id": 5}, "SETTINGS_INVALID"),
        ({"type": None, "name": "email"}, "SETTINGS_INVALID"),
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


@pytest.mark.parametrize(
    "text",
    [
        '{"identifiers": [{"type": "email"}], "identifiers": [{"type": "phone"}]}',
        '[{"type": "email", "limit": 1, "limit": 2}]',
        '[{"type": "email"}, {"type": "email", "limit": 2}]',
        '[{"type": "userId"}, {"type": "user_id"}]',
        "[" * 100_000,
        '[{"type": "email", "limit": ' + "9" * 10_000 + "}]",
    ],
    ids=["a list twice", "a limit twice", "a type twice", "a type in two spellings", "deep", "long"],
)
def test_nothing_of_what_stands_twice_or_cannot_be_read_is_dropped(text: str) -> None:
    with pytest.raises(Misused) as refused:
        to_document(text)
    assert refused.value.reason == "SETTINGS_INVALID"


def test_what_says_no_limit_has_segments_own() -> None:
    document = to_document('[{"type": "user_id"}, {"type": "email"}, {"type": "crm"}]').document
    assert [(rule["name"], rule["limit"]) for rule in document["namespaces"]] == [
        ("user_id", 1),
        ("email", 5),
        ("crm", 5),
        ("*", 5),
    ]


def test_what_holds_under_any_rules_is_left_out_and_said() -> None:
    blocked = ["void", "info@shop.example", "a+b@shop.example"]
    imported = to_document(json.dumps([{"type": "group_id", "limit": 1}, {"type": "email", "blocked_values": blocked}]))
    assert [rule["name"] for rule in imported.document["namespaces"]] == ["email", "*"]
    assert len(rules_of(read(json.dumps(imported.document), KEY), 2).blocked) == 2
    assert imported.left_out == [
        "group_id: a group is many people, so it links nobody here",
        "email: blocked value 1 is no address, so it names nobody here",
    ]


def many(name: str, values: int) -> dict[str, Any]:
    return {"type": name, "blocked_values": [f"value-{number}-of-{name}" for number in range(values)]}


@pytest.mark.parametrize(
    ("settings", "document"),
    [
        (
            [{"type": f"n{number}"} for number in range(100)],
            {"namespaces": [{"name": f"n{n}"} for n in range(100)] + [{"name": "*"}]},
        ),
        (
            [many("crm", 6_000), many("till", 4_001)],
            {
                "namespaces": [
                    {"name": "crm", "blocked": many("crm", 6_000)["blocked_values"]},
                    {"name": "till", "blocked": many("till", 4_001)["blocked_values"]},
                    {"name": "*"},
                ]
            },
        ),
        (
            [{"type": "*", "blocked_values": ["test"]}],
            {"namespaces": [{"name": "*", "blocked": ["test"]}]},
        ),
        (
            [{"type": "phone", "blocked_values": ["+4915112345001", "12"]}],
            {"namespaces": [{"name": "phone", "blocked": ["+4915112345001", "12"]}, {"name": "*"}]},
        ),
        (
            [{"type": "crm", "blocked_values": ["x" * 1_000_001]}],
            {"namespaces": [{"name": "crm", "blocked": ["x" * 1_000_001]}, {"name": "*"}]},
        ),
    ],
    ids=["namespaces", "blocked values", "of all others", "no telephone", "bytes"],
)
def test_what_would_be_refused_when_it_is_checked_is_refused_in_the_same_words(settings: Any, document: Any) -> None:
    with pytest.raises(InvalidInput) as later:
        read(json.dumps(document), KEY)
    with pytest.raises(Misused) as refused:
        to_document(json.dumps(settings))
    assert (refused.value.reason, refused.value.message) == ("NOT_EXPRESSIBLE", later.value.message)


def test_as_much_as_is_accepted_is_imported() -> None:
    settings = [many("crm", 6_000), many("till", 4_000), *({"type": f"n{number}"} for number in range(97))]
    imported = to_document(json.dumps(settings))
    rules = rules_of(read(printed(imported.document), KEY), 2)
    assert (len(rules.namespaces), len(rules.blocked)) == (99, 10_000)


def test_a_type_that_is_said_twice_alike_is_one() -> None:
    document = to_document('[{"type": "user_id", "name": "userId", "limit": 2}]').document
    assert document["namespaces"][0] == {"name": "user_id", "limit": 2}
