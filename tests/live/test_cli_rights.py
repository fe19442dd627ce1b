"""`c360 rights` against the real services: each right's act is done, and recorded with what proves it."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.stack.stack import Stack
from tests.live.command import Command
from tests.live.test_cli import identify

BY = ("--by", "privacy-desk", "--reason", "letter, ticket 7")


@pytest.fixture(scope="module")
def c360(stack: Stack) -> Command:
    stack.write_key()
    return Command(stack.data_directory)


@pytest.fixture
def user(c360: Command) -> str:
    user = f"u-{os.urandom(8).hex()}"
    position = identify(c360, user, "first_name=Ann")
    c360.json("profile", "get", f"user_id:{user}", "--purpose", "service", "--fresh", position)
    return user


def verified(c360: Command, user: str, right: str) -> str:
    opened = c360.json("rights", "open", f"user_id:{user}", right, "--calendar", "DE", *BY)
    request: str = opened["rights_request_id"]
    checked = c360.json("rights", "check-identity", request, "passed", "--method", "signed-in", *BY)
    assert checked["state"] == "verified"
    return request


def steps(c360: Command, request: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = c360.json("rights", "show", request)["steps"]
    return found


def test_an_erasure_is_asked_for_checked_done_and_certified(c360: Command, user: str, tmp_path: Path) -> None:
    unchecked = c360.json("rights", "open", f"user_id:{user}", "erasure", *BY)["rights_request_id"]
    assert "IDENTITY_NOT_CHECKED" in c360.run("rights", "fulfil", unchecked, "--yes", *BY, code=1).stderr
    request, saved = verified(c360, user, "erasure"), tmp_path / "certificate.txt"
    assert c360.json("rights", "show", request)["request"]["duplicate_of_id"] == unchecked
    assert "NOT_CONFIRMED" in c360.run("rights", "fulfil", request, *BY, text="n\n", code=2).stderr
    for _ in range(2):
        saved.unlink(missing_ok=True)
        done = c360.json("rights", "fulfil", request, "--yes", "--out", str(saved), *BY, code=0)
        assert (done["state"], done["customer_id"]) == ("fulfilled", "")
    last = steps(c360, request)[-1]
    assert last["proof_sha256"] == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert c360.json("customer", "erasure", *last["references"])["certificate"] == saved.read_text()
    key = c360.run("vault", "key").stdout.strip()
    assert '"readable_fields": 0' in c360.run("customer", "verify", str(saved), "--key", key).stdout
    c360.json("rights", "refuse", unchecked, "no-data", *BY)
    closed = c360.json("rights", "list", "--identifier", f"user_id:{user}", "--closed")
    assert {one["rights_request_id"]: one["state"] for one in closed} == {request: "fulfilled", unchecked: "refused"}


def test_an_objection_and_a_restriction_are_decisions(c360: Command, user: str) -> None:
    request, person = verified(c360, user, "objection"), f"user_id:{user}"
    stranger = c360.run("rights", "fulfil", request, "--identifier", "user_id:somebody-else", "-P", "analytics", *BY, code=2)
    assert "IDENTIFIER_DOES_NOT_FIT" in stranger.stderr
    c360.json("rights", "fulfil", request, "--identifier", person, "-P", "analytics", *BY)
    [decision] = c360.json("consent", "decisions", person)
    assert (decision["purpose"], decision["outcome"]) == ("analytics", "objected")
    assert steps(c360, request)[-1]["references"] == [decision["decision_id"]]
    request = verified(c360, user, "restriction")
    c360.json("rights", "fulfil", request, "--identifier", person, "-P", "analytics", "-P", "marketing", *BY)
    limited = [one["purpose"] for one in c360.json("consent", "decisions", person) if one["outcome"] == "limited"]
    assert limited == ["analytics", "marketing"]
    assert len(steps(c360, request)[-1]["references"]) == len(limited)


def restrictions(c360: Command, restriction_id: str, *more: str) -> list[dict[str, Any]]:
    lines = c360.run("consent", "restrictions", "--limit", "10000", "--json", *more).stdout.splitlines()
    return [one for one in map(json.loads, lines) if one["restriction_id"] == restriction_id]


def test_by_the_gdpr_every_purpose_is_restricted_until_that_is_lifted(c360: Command, user: str, tmp_path: Path) -> None:
    request, person = verified(c360, user, "restriction"), f"user_id:{user}"
    assert "GROUND_MISSING" in c360.run("rights", "fulfil", request, "--identifier", person, *BY, code=2).stderr
    fulfilled = ("rights", "fulfil", request, "--identifier", person, "--ground", "accuracy-contested", *BY)
    assert c360.json(*fulfilled)["state"] == "fulfilled"
    [restriction] = c360.json("consent", "decisions", person)
    assert (restriction["purpose"], restriction["outcome"]) == ("*", "restricted")
    assert restriction["restriction"]["grounds"] == ["accuracy-contested"]
    assert steps(c360, request)[-1]["references"] == [restriction["decision_id"]]
    assert "RESTRICTED" in c360.run("profile", "get", person, "--purpose", "service", code=1).stderr
    c360.json("profile", "get", person, "--purpose", "audit")
    [told] = restrictions(c360, restriction["decision_id"])
    assert (told["restriction"]["grounds"], told["restriction"]["recorded_by"]) == (["accuracy-contested"], "privacy-desk")
    assert (told["restrict_time"], told["rights_request_ids"]) == (restriction["decide_time"], [request])
    c360.run("rights", "report", verified(c360, user, "access"), "--no-pdf", "--out", str(tmp_path / "report"), *BY)
    [in_force] = json.loads((tmp_path / "report" / "report.json").read_text())["restrictions"]
    assert (in_force["restriction_id"], in_force["grounds"]) == (restriction["decision_id"], ["accuracy-contested"])
    assert (in_force["own"], in_force["reason"]) == (True, restriction["restriction"]["reason"])
    [hers] = [json.loads(line) for line in c360.run("consent", "restrictions", person, "--json").stdout.splitlines()]
    assert (hers["restriction_id"], hers["belonging"]) == (restriction["decision_id"], "THEIRS")
    assert "restricted" in (tmp_path / "report" / "report.html").read_text()
    early = c360.run("consent", "lift", restriction["decision_id"], "--told-at", "-1d", *BY, code=1).stderr
    assert "NOT_TOLD_BEFORE" in early
    c360.json("consent", "lift", restriction["decision_id"], "--told-at", restriction["decide_time"], *BY)
    c360.json("profile", "get", person, "--purpose", "service")
    assert restrictions(c360, restriction["decision_id"]) == []
    [ended] = restrictions(c360, restriction["decision_id"], "--ended")
    assert (ended["lift"]["lifts"], ended["lift_time"] > told["restrict_time"]) == (restriction["decision_id"], True)
    assert "accuracy" in c360.run("consent", "restrictions", "--ended").stdout
    assert "restriction-lifted" in c360.run("consent", "decisions", person).stdout


def test_what_was_handed_over_is_kept_by_its_hash(c360: Command, user: str, tmp_path: Path) -> None:
    request, report = verified(c360, user, "access"), tmp_path / "report.json"
    assert "PROOF_MISSING" in c360.run("rights", "fulfil", request, *BY, code=2).stderr
    report.write_text("{}")
    c360.json("rights", "fulfil", request, "--proof", str(report), *BY)
    last = steps(c360, request)[-1]
    assert (last["references"], last["proof_sha256"]) == (["report.json"], hashlib.sha256(b"{}").hexdigest())
    request = verified(c360, user, "rectification")
    assert "REFERENCE_MISSING" in c360.run("rights", "fulfil", request, *BY, code=2).stderr
    c360.json("rights", "fulfil", request, "--reference", "message-7", *BY)
    assert [one["kind"] for one in steps(c360, request)] == ["received", "identity_checked", "begun", "fulfilled"]


def test_what_is_due_is_told_for_people_and_for_scripts(c360: Command, user: str) -> None:
    opened = c360.json("rights", "open", f"user_id:{user}", "access", "--received", "2026-03-05", "--calendar", "DE", *BY)
    request = opened["rights_request_id"]
    assert (opened["due_date"], opened["longest_date"], opened["overdue"]) == ("2026-04-07", "2026-06-05", True)
    c360.json("rights", "acknowledge", request, *BY)
    late = c360.run("rights", "extend", request, *BY, code=1).stderr
    assert "NOT_EXTENDABLE" in late
    assert c360.json("rights", "extend", request, "--told", "2026-04-01", *BY)["due_date"] == "2026-06-05"
    assert request in c360.run("rights", "list", "--identifier", f"user_id:{user}").stdout
    assert "told on 2026-04-01, due on 2026-06-05" in c360.run("rights", "show", request).stdout
    assert "overdue" in c360.run("status").stderr
    assert c360.json("rights", "withdraw", request, *BY)["state"] == "withdrawn"
