"""What is supposed in a simulation is read as it was written, or said to be no change."""

from typing import Any

import pytest

from services.cli.messages import plain
from services.cli.policy_changes import parse_change

DECISION = "0198c0de-0000-8000-8000-000000000001"


def told(text: str) -> dict[str, Any]:
    found: dict[str, Any] = plain(parse_change(text))
    return {name: value for name, value in found.items() if value not in ("", 0, None, False)}


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("marketing invalid", {"purpose": "marketing", "invalid": True}),
        (
            "marketing invalid since 2026-03-01",
            {"purpose": "marketing", "invalid": True, "since_time": "2026-03-01T00:00:00Z"},
        ),
        ("marketing legal-basis=legitimate-interest", {"purpose": "marketing", "legal_basis": "legitimate_interest"}),
        ("marketing jurisdiction=US-CA", {"purpose": "marketing", "jurisdiction": "US-CA"}),
        ("marketing expires-after-days=30", {"purpose": "marketing", "expires_after_days": 30}),
        ("marketing minimum-age=16", {"purpose": "marketing", "minimum_age": 16}),
        ("marketing minors-under=16", {"purpose": "marketing", "minors_under": 16}),
        ("marketing minors-opt-in-from=13", {"purpose": "marketing", "minors_opt_in_from": 13}),
        ("marketing double-opt-in", {"purpose": "marketing", "double_opt_in": True}),
        ("marketing notice=privacy@2", {"purpose": "marketing", "notice": {"name": "privacy", "version": 2}}),
        ("marketing version=1", {"purpose": "marketing", "version": 1}),
        (f"decision {DECISION} withdrawn", {"withdrawn_decision_id": DECISION}),
        ("since invalid", {"purpose": "since", "invalid": True}),
    ],
)
def test_a_change_is_a_purpose_or_a_decision_and_how_it_was_otherwise(text: str, change: dict[str, Any]) -> None:
    assert told(text) == change


@pytest.mark.parametrize(
    "text",
    [
        "",
        "marketing",
        "marketing unlawful",
        "marketing invalid since",
        "marketing invalid since tomorrow",
        "marketing invalid and more",
        "marketing legal-basis=whim",
        "marketing jurisdiction=",
        "marketing minimum-age=151",
        "marketing minimum-age=-1",
        "marketing version=one",
        "marketing notice=privacy",
        "marketing notice=privacy@two",
        "decision 7 withdrawn",
    ],
)
def test_what_is_no_change_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_change(text)
