"""`c360 identity rules` and `simulate` against the real services: what is activated is what profiles follow."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.stack.stack import Stack
from tests.live.command import Command
from tests.waiting import eventually

WHY = ("--by", "ops", "--reason", "ticket 12")


@pytest.fixture(scope="module")
def c360(stack: Stack) -> Command:
    stack.write_key()
    return Command(stack.data_directory)


def activate(c360: Command, directory: Path, document: Any) -> Any:
    file = directory / "rules.json"
    file.write_text(json.dumps(document))
    activated = c360.json("identity", "rules", "activate", str(file), *WHY)
    eventually(lambda: c360.json("identity", "rules", "show")["rules"]["settled"])
    return activated


def test_profiles_follow_rules_that_are_checked_and_activated_and_their_return(c360: Command, tmp_path: Path) -> None:
    user, device, address = (f"{kind}-{uuid4()}" for kind in ("user", "device", "info"))
    email = f"{address}@shop.example"
    c360.json("events", "identify", "-u", user, "-t", f"email={email}", "-t", "first_name=Ann")
    sent = c360.json("events", "identify", "-a", device, "-t", f"email={email}", "-t", "last_name=Ash")
    fresh = ("--purpose", "service", "--fresh", sent["positions"][0])
    assert set(c360.json("profile", "get", f"user_id:{user}", *fresh)["traits"]) == {"email", "first_name", "last_name"}

    apart = c360.json("identity", "simulate", "forbid", f"user_id:{user}", f"email:{email}")
    assert (apart["merges"], apart["splits"]) == (0, 1)
    [example] = apart["examples"]
    assert example["effect"] == "split"
    refused = c360.run("identity", "simulate", "merge", f"user_id:{user}", f"email:{email}", code=1)
    assert "ALREADY_TOGETHER" in refused.stderr  # as the decision itself would be

    then = datetime.now(UTC).isoformat()
    before = c360.json("identity", "rules", "show")
    changed = json.loads(json.dumps(before["document"]))
    next(rule for rule in changed["namespaces"] if rule["name"] == "email")["blocked"] = [email.upper()]
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(changed))
    report = c360.json("identity", "rules", "check", str(file))
    assert (report["merges"], report["splits"], report["shared"]) == (0, 2, 1)  # the address keeps a customer, alone

    activated = activate(c360, tmp_path, changed)
    assert activated["version"] == before["rules"]["version"] + 1
    assert activated["expected"]["splits"] == 2
    shown = c360.json("identity", "rules", "show")
    assert address not in json.dumps(shown)

    def traits() -> set[str]:
        return set(c360.json("profile", "get", f"user_id:{user}", "--purpose", "service")["traits"])

    eventually(lambda: traits() == {"email", "first_name"})
    asked = ("identity", "simulate", "forbid", f"user_id:{user}", f"email:{email}", "--known-at")
    assert c360.json(*asked, then) == apart
    assert "IDENTIFIER_UNKNOWN" in c360.run(*asked, "-2h", code=1).stderr
    again = c360.run("identity", "rules", "activate", str(file), *WHY, code=1)
    assert "RULES_UNCHANGED" in again.stderr

    activate(c360, tmp_path, before["document"])
    eventually(lambda: traits() == {"email", "first_name", "last_name"})
    listed = c360.json("identity", "rules", "list")
    assert [version["settled"] for version in listed] == [True] * len(listed)


def test_rules_that_cannot_be_are_refused_without_quoting_them(c360: Command, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    for document in (
        "{",
        '{"namespaces": []}',
        '{"namespaces": [{"name": "*"}, {"name": "phone", "blocked": ["0151 23456789"]}]}',
        '{"namespaces": [{"name": "*", "limit": 0}]}',
    ):
        file.write_text(document)
        refused = c360.run("identity", "rules", "check", str(file), code=1).stderr
        assert "RULES_INVALID" in refused
        assert "0151" not in refused
