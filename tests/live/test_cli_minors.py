"""`c360 consent age` and what goes with it, against the real services."""

import json
import os
from pathlib import Path

import pytest

from services.stack.stack import Stack
from tests.live.command import Command
from tests.live.test_cli import identify

BY = ("--by", "shop", "--reason", "said so at sign-up")


@pytest.fixture(scope="module")
def c360(stack: Stack) -> Command:
    stack.write_key()
    return Command(stack.data_directory)


@pytest.fixture
def email(c360: Command) -> str:
    """Of somebody who granted marketing."""
    user = f"u-{os.urandom(8).hex()}"
    position = identify(c360, user, f"email={user}@shop.example")
    c360.json("profile", "get", f"user_id:{user}", "--purpose", "service", "--fresh", position)
    c360.json("consent", "grant", f"email:{user}@shop.example", "marketing")
    return f"email:{user}@shop.example"


def reason(c360: Command, email: str, purpose: str = "marketing", code: int = 0) -> str:
    return str(c360.json("consent", "check", email, purpose, code=code)["reason"])


def test_a_child_is_read_for_no_ready_marketing_unless_a_parent_granted_it(c360: Command, email: str, tmp_path: Path) -> None:
    assert reason(c360, email) == "CONSENT_GRANTED"
    c360.json("consent", "age", email, "--under", "16", "--at-least", "13", "--method", "sign-up", *BY)
    assert "MINOR" in c360.run("profile", "get", email, "--purpose", "marketing", code=1).stderr
    assert [reason(c360, email, name) for name in ("service", "analytics")] == ["CONTRACT", "LEGITIMATE_INTEREST"]
    assert "GUARDIAN_MISSING" in c360.run("consent", "grant", email, "marketing", "--verified-by", "a form", code=2).stderr
    assert (
        "AUTHORISATION_INVALID"
        in c360.run("consent", "grant", email, "marketing", "--guardian", "phone:+4930901820", code=1).stderr
    )
    c360.json("consent", "grant", email, "marketing", "--guardian", "phone:+4930901820", "--verified-by", "signed form")
    assert reason(c360, email) == "CONSENT_GRANTED"
    listed = c360.run("consent", "decisions", email).stdout
    assert "(13 to 15)" in listed
    assert "by a parent" in listed


def test_what_a_parent_grants_in_two_clicks_counts_once_it_is_confirmed(c360: Command, email: str, tmp_path: Path) -> None:
    purpose = f"club_{os.urandom(8).hex()}"
    club = tmp_path / "club.json"
    club.write_text(json.dumps({"legal_basis": "consent", "double_opt_in": True, "minors_under": 16}))
    c360.json("consent", "purposes", "define", purpose, str(club), "--by", "ops", "--reason", "a club")
    c360.json("consent", "age", email, "--under", "13", *BY)
    guardian = ("--guardian", "phone:+4930901820", "--verified-by", "payment card")
    for more, permitted in (((), False), (guardian, True)):
        token = c360.json("consent", "request-confirmation", email, purpose, *more)["token"]
        assert reason(c360, email, purpose, code=1) == "MINOR"
        c360.json("consent", "confirm", token)
        assert reason(c360, email, purpose, code=not permitted) == ("CONSENT_GRANTED" if permitted else "MINOR")


def test_of_files_children_are_left_out_and_what_their_parents_granted_is_imported(
    c360: Command, email: str, tmp_path: Path
) -> None:
    child, people, excluded = email.partition(":")[2], tmp_path / "people.csv", tmp_path / "excluded.jsonl"
    c360.json("consent", "age", email, "--under", "13", *BY)
    people.write_text(f"email\n{child}\n")
    filtering = ("consent", "filter", str(people), "--purpose", "marketing", "--by", "email", "--excluded", str(excluded))
    assert c360.run(*filtering).stdout == "email\n"
    assert json.loads(excluded.read_text())["reason"] == "MINOR"
    grants, rejects = tmp_path / "grants.csv", tmp_path / "rejects.jsonl"
    grants.write_text(
        f"email,guardian,verified_by\n{child},phone:+4930901820,signed form\n{child},,signed form\n{child},phone:+4930901820,\n"
    )
    importing = ("consent", "import", str(grants), "--by", "email", "--purpose", "marketing", "--outcome", "granted")
    c360.run(*importing, "--decided-at", "2026-01-31", "--rejects", str(rejects), code=1)
    refused = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(one["row"], one["reason"]) for one in refused] == [(2, "AUTHORISATION_INVALID"), (3, "AUTHORISATION_INVALID")]
    assert c360.run(*filtering).stdout == f"email\n{child}\n"


def test_an_age_is_corrected_by_its_id(c360: Command, email: str) -> None:
    said = c360.json("consent", "age", email, "--under", "16", *BY)["age_id"]
    assert reason(c360, email, code=1) == "MINOR"
    right = c360.json("consent", "correct-age", said, "--under", "40", "--at-least", "30", "--method", "id-check", *BY)["age_id"]
    assert reason(c360, email) == "CONSENT_GRANTED"
    assert "AGE_CORRECTED" in c360.run("consent", "correct-age", said, *BY, code=1).stderr
    c360.json("consent", "correct-age", right, *BY)
    assert "AGE_UNKNOWN" in c360.run("consent", "correct-age", "01a20716-0435-7fed-b215-55f5d3cee630", *BY, code=1).stderr
