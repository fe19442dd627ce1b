"""Consent of now rules reads of the past: also of whoever was one with a customer then, and is another person since."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

import pytest

from services.stack.stack import Stack
from tests.live.command import Command

READS = [
    ("profile", "get"),
    ("profile", "timeline"),
    ("profile", "explain", "city"),
    ("profile", "history"),
]


class Couple(NamedTuple):
    c360: Command
    ann: str
    bob: str
    then: str
    purpose: str


@pytest.fixture(scope="module")
def couple(stack: Stack) -> Couple:
    """Ann and Bob, who were one at `then` and are two since; both permit the purpose."""
    c360, mark = Command(stack.data_directory), uuid4().hex[:8]
    ann, bob, purpose = f"user_id:ann-{mark}", f"user_id:bob-{mark}", f"offers_{mark}"
    key = c360.json("sources", "create", f"shop-{mark}")["write_key"]
    c360.define_purpose(purpose, "city")
    for person, city in ((ann, "Kiel"), (bob, "Bremen")):
        user = person.partition(":")[2]
        position = c360.json("events", "identify", "-u", user, "-t", f"city={city}", "--write-key", key)["positions"][0]
        c360.run("profile", "get", person, "--purpose", "service", "--fresh", position, "--timeout", "20")
        c360.json("consent", "grant", person, purpose, "--method", "web-form")
    by = ("--by", "desk", "--reason", "ticket 4711")
    merged = c360.json("identity", "merge", ann, bob, *by)["position"]
    c360.run("profile", "get", ann, "--purpose", purpose, "--fresh", merged, "--timeout", "20")
    then = datetime.now(UTC).isoformat()
    split = c360.json("identity", "split", ann, bob, *by)["position"]
    c360.run("profile", "get", ann, "--purpose", purpose, "--fresh", split, "--timeout", "20")
    return Couple(c360, ann, bob, then, purpose)


@pytest.mark.parametrize("read", READS, ids=" ".join)
def test_who_was_split_off_and_withdrew_is_not_shown_by_the_past_of_the_other(couple: Couple, read: tuple[str, ...]) -> None:
    c360, ann, bob, then, purpose = couple
    past = () if read == ("profile", "history") else ("--known-at", then)
    asked = (*read[:2], ann, *read[2:], *past, "--purpose", purpose)
    c360.json("consent", "grant", bob, purpose, "--method", "web-form")
    assert "Bremen" in c360.run(*asked, "--json", "--timeout", "20").stdout
    c360.json("consent", "withdraw", bob, purpose)
    assert "CONSENT_WITHDRAWN" in c360.run(*asked, "--timeout", "20", code=1).stderr
    assert "Kiel" in c360.run("profile", "get", ann, "--purpose", purpose, "--timeout", "20").stdout
