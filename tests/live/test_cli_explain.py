"""`c360 identity why`, `history` and `resolve` of the past, over gRPC against the real services."""

import json
from typing import Any
from uuid import uuid4

import pytest

from services.stack.stack import Stack
from tests.live.command import TIMEOUT_S, Command


@pytest.fixture(scope="module")
def c360(stack: Stack) -> Command:
    stack.write_key()
    return Command(stack.data_directory)


class Family:
    """Ann, her two addresses, and a tablet that Ben uses too; nobody else has these names."""

    def __init__(self, c360: Command) -> None:
        self.c360, name = c360, uuid4().hex
        self.ann, self.ben, self.tablet = f"ann-{name}", f"ben-{name}", f"tablet-{name}"
        self.mail = f"ann-{name}@shop.example"

    def see(self, *options: str) -> str:
        position: str = self.c360.json("events", "identify", *options)["positions"][0]
        return position

    def why(self, one: str, other: str, *options: str) -> Any:
        return self.c360.json("identity", "why", one, other, *options)

    def history(self, person: str, *options: str) -> list[Any]:
        lines = self.c360.run("identity", "history", person, "--json", "--timeout", TIMEOUT_S, *options).stdout.splitlines()
        return [json.loads(line) for line in lines]


def test_why_why_not_and_how_at_any_instant(c360: Command) -> None:
    family = Family(c360)
    ann, ben, mail, tablet = (
        f"user_id:{family.ann}",
        f"user_id:{family.ben}",
        f"email:{family.mail}",
        f"anonymous_id:{family.tablet}",
    )
    family.see("--user-id", family.ann, "-t", f"email={family.mail}", "--at", "-3h")
    first = family.see("--user-id", family.ann, "--anonymous-id", family.tablet, "--at", "-2h")

    told = family.why(mail, tablet, "--fresh", first)
    assert told["together"]
    assert [(link["from"]["namespace"], link["to"]["namespace"]) for link in told["links"]] == [
        ("email", "user_id"),
        ("user_id", "anonymous_id"),
    ]
    assert {link["evidence"]["source"] for link in told["links"]} == {"demo"}
    assert all(link["evidence"]["record_time"] > link["evidence"]["occur_time"] for link in told["links"])
    assert "two, with nothing in common" not in c360.run("identity", "why", mail, tablet).stdout
    before = family.history(ann)[-1]["record_time"]

    second = family.see("--user-id", family.ben, "--anonymous-id", family.tablet, "--at", "-1h")
    apart = family.why(ann, ben, "--fresh", second)
    assert not apart["together"]
    assert [(one["reason"], one["owners"]) for one in apart["obstacles"]] == [
        ("SHARED", {"user_id": 2}),
        ("LIMIT", {}),
    ]
    owned = [(one["owner"]["namespace"], one["evidence"]["source"]) for one in apart["obstacles"][0]["owned_by"]]
    assert owned == [("user_id", "demo")] * 2
    shown = c360.run("identity", "why", ann, ben).stdout
    assert "SHARED" in shown
    assert all(one["evidence"]["event_id"] in shown for one in apart["obstacles"][0]["owned_by"])
    assert family.mail not in shown + str(apart)

    # The tablet was Ann's: as of then, and as it was known then. Now it is nobody's.
    customer = c360.json("identity", "resolve", ann)["customer_id"]
    assert c360.json("identity", "resolve", tablet, "--known-at", before)["customer_id"] == customer
    assert c360.json("identity", "resolve", tablet, "--as-of", "-90m")["customer_id"] == customer
    assert family.why(tablet, ann, "--as-of", "-90m")["together"]
    shared = c360.run("identity", "resolve", tablet, code=1).stderr
    assert shared.startswith("IDENTIFIER_SHARED: ")
    assert {"  owners: 2 of user_id", "  limit: 2"} <= set(shared.splitlines())
    assert "IDENTIFIER_UNKNOWN" in c360.run("identity", "resolve", mail, "--as-of", "-4h", code=1).stderr
    assert "INSTANT_IN_FUTURE" in c360.run("identity", "resolve", mail, "--as-of", "2999-01-01", code=1).stderr

    entries = family.history(ann)
    assert [entry["type"] for entry in entries] == ["customer.founded", *["customer.linked"] * 3, "customer.unlinked"]
    assert entries[-1]["identifier"] == entries[-2]["identifier"]
    assert entries[-1]["cause_id"] not in ("", entries[-2]["cause_id"])
    assert [entry["type"] for entry in family.history(ann, "--known-at", before)] == [entry["type"] for entry in entries[:-1]]
    assert "customer.unlinked" in c360.run("identity", "history", ann).stdout
    assert c360.run("identity", "why", mail, ben, "--as-of", "-90m", code=1).stderr.startswith("IDENTIFIER_UNKNOWN")
    third = family.see("--anonymous-id", f"{family.tablet}-other", "--at", "-2h")
    other = (f"anonymous_id:{family.tablet}-other", "--fresh", third)
    assert "two, with nothing in common" in c360.run("identity", "why", mail, *other, "--as-of", "-90m").stdout


def test_a_decision_is_named_as_the_reason(c360: Command) -> None:
    family = Family(c360)
    ann, ben, mail = f"user_id:{family.ann}", f"user_id:{family.ben}", f"email:{family.mail}"
    family.see("--user-id", family.ann, "-t", f"email={family.mail}")
    last = family.see("--user-id", family.ben)
    by = ("--by", "crm-desk", "--reason", "ticket 4711")
    nothing = family.why(ben, mail, "--fresh", last)
    assert (nothing["together"], nothing["obstacles"]) == (False, [])

    merged = c360.json("identity", "merge", ben, mail, *by)["decision"]["decision_id"]
    told = family.why(ben, mail)
    assert told["together"]
    [decision] = [link["decision"] for link in told["links"] if link["decision"]]
    assert (decision["decision_id"], decision["decided_by"], decision["reason"]) == (merged, "crm-desk", "ticket 4711")
    shown = c360.run("identity", "why", ben, mail).stdout
    assert all(word in shown for word in (merged, "crm-desk", "ticket 4711", decision["decide_time"]))
    assert ("customer.merge_decided", "ticket 4711", "crm-desk") in [
        (entry["type"], entry["reason"], entry["decided_by"]) for entry in family.history(ann)
    ]
    entries = family.history(ann)
    made, by_hand = next(one for one in entries if one["subject_id"] == merged), entries[-1]
    assert sorted(made[end]["namespace"] for end in ("identifier", "other_identifier")) == ["user_id", "user_id"]
    assert [by_hand[name] for name in ("type", "cause", "cause_id", "decided_by", "reason")] == [
        "customer.merged",
        "DECISION",
        merged,
        "crm-desk",
        "ticket 4711",
    ]
    assert sorted(by_hand["chain"]) == ["user_id", "user_id"]
    together = by_hand["record_time"]

    c360.json("identity", "withdraw", merged, "--by", "ben", "--reason", "it was the wrong ticket")
    split = family.history(ann)[-1]
    assert [split[name] for name in ("type", "cause", "decided_by", "reason")] == [
        "customer.split",
        "DECISION",
        "ben",
        "it was the wrong ticket",
    ]
    forbidden = c360.json("identity", "forbid", ben, ann, *by)["decision"]["decision_id"]
    [nothing_else] = family.why(ben, mail)["obstacles"]
    assert (nothing_else["reason"], nothing_else["decision"]["decision_id"]) == ("FORBIDDEN", forbidden), (
        "before anything joins them"
    )
    assert forbidden in c360.run("identity", "why", ben, mail).stdout
    last = family.see("--user-id", family.ben, "-t", f"email={family.mail}")
    apart = family.why(ben, mail, "--fresh", last)["obstacles"]
    assert [one["reason"] for one in apart] == ["CONTESTED", "FORBIDDEN", "LIMIT"]
    assert {one["owner"]["namespace"] for one in apart[0]["owned_by"]} == {"user_id"}
    assert (apart[1]["decision"]["decision_id"], apart[1]["decision"]["decided_by"]) == (forbidden, "crm-desk")
    assert apart[1]["evidence"]["source"] == "demo"
    assert apart[1]["decision"]["decide_time"] in c360.run("identity", "why", ben, mail).stdout
    for command in (("resolve", mail), ("merge", mail, ben, *by)):
        assert c360.run("identity", *command, code=1).stderr.startswith("IDENTIFIER_CONTESTED: ")
    then = family.why(ben, ann, "--known-at", together)
    assert [link["decision"]["decision_id"] for link in then["links"] if link["decision"]] == [merged]


def test_who_is_erased_is_explained_at_no_instant(c360: Command) -> None:
    family = Family(c360)
    ann, mail = f"user_id:{family.ann}", f"email:{family.mail}"
    position = family.see("--user-id", family.ann, "-t", f"email={family.mail}")
    customer = c360.json("identity", "resolve", ann, "--fresh", position)["customer_id"]
    then = family.history(ann)[-1]["record_time"]
    c360.run("customer", "erase", ann, "--reason", "asked", "--yes")
    for options in ((), ("--known-at", then), ("--as-of", then)):
        assert "IDENTIFIER_UNKNOWN" in c360.run("identity", "resolve", mail, *options, code=1).stderr
    assert "IDENTIFIER_UNKNOWN" in c360.run("identity", "why", mail, ann, "--known-at", then, code=1).stderr
    assert "CUSTOMER_ERASED" in c360.run("identity", "history", customer, "--known-at", then, code=1).stderr


def test_whose_an_identifier_is_is_told_with_its_customer(c360: Command) -> None:
    """A channel backend that knows its caller by a kiosk or a mailbox of two knows nobody."""
    family = Family(c360)
    mail, tablet = f"email:{family.mail}", f"anonymous_id:{family.tablet}"
    family.see("--anonymous-id", family.tablet, "--at", "-3h")
    family.see("--anonymous-id", f"phone-{family.ann}", "-t", f"email={family.mail}", "--at", "-3h")
    family.see("--user-id", family.ann, "--anonymous-id", family.tablet, "-t", f"email={family.mail}", "--at", "-1h")
    fresh = family.see("--user-id", family.ben, "--anonymous-id", family.tablet, "-t", f"email={family.mail}", "--at", "-1h")

    def whose(identifier: str, *options: str) -> str:
        told: str = c360.json("identity", "resolve", identifier, *options)["ownership"]
        return told

    assert [whose(one, "--fresh", fresh) for one in (tablet, mail, f"user_id:{family.ann}")] == ["shared", "contested", "own"]
    assert [whose(one, "--as-of", "-2h") for one in (tablet, mail)] == ["own", "own"]
    assert "too many use it" in c360.run("identity", "resolve", tablet).stdout
