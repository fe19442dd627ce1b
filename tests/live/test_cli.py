"""The command against the real services: what a person or a script sees."""

import hashlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.stack.stack import Stack
from tests.live.command import TIMEOUT_S, Command
from tests.stacks import fresh_stack


@pytest.fixture(scope="module")
def c360(stack: Stack) -> Command:
    stack.write_key()
    return Command(stack.data_directory)


@pytest.fixture
def user() -> str:
    return f"u-{uuid4()}"


def identify(c360: Command, user: str, *traits: str) -> str:
    """The position of the event."""
    options = [part for trait in traits for part in ("-t", trait)]
    position: str = c360.json("events", "identify", "--user-id", user, *options)["positions"][0]
    return position


def profile(c360: Command, user: str, *options: str) -> Any:
    return c360.json("profile", "get", f"user_id:{user}", "--purpose", "service", *options)


def test_status_names_every_service(c360: Command) -> None:
    found = c360.json("status")
    assert [(item["service"], item["status"]) for item in found] == [
        (service, "SERVING") for service in ("ingest", "identity", "profile", "consent")
    ]
    assert found[1]["under_way"] == []


def test_a_read_sees_the_write_whose_position_it_names(c360: Command, user: str) -> None:
    position = identify(c360, user, "first_name=Ann", f"email={user}@example.com")
    found = profile(c360, user, "--fresh", position)
    assert found["traits"]["first_name"]["value"] == "Ann"
    assert found["traits"]["first_name"]["source"] == "demo"
    by_email = c360.json("profile", "get", f"email:{user}@example.com", "--purpose", "service")
    by_id = c360.json("profile", "get", found["customer_id"], "--purpose", "service")
    assert by_email["customer_id"] == by_id["customer_id"] == found["customer_id"]


def test_a_version_shows_what_was_known_when_the_stream_had_come_to_it(c360: Command, user: str) -> None:
    before = profile(c360, user, "--fresh", identify(c360, user, "first_name=Ann"))
    profile(c360, user, "--fresh", identify(c360, user, "first_name=Anna"))
    asked = ("--version", str(before["version"]))
    assert profile(c360, user, *asked) == before
    shown = c360.json("profile", "explain", f"user_id:{user}", "first_name", "--purpose", "service", *asked)
    assert (shown["value"], shown["assertion_count"]) == ("Ann", 1)
    about, versions = (
        (f"user_id:{user}", "--purpose", "service", "--trait", "first_name"),
        ("--from-version", str(before["version"])),
    )
    [changed] = c360.json("profile", "diff", *about, *versions)["traits"]
    assert (changed["old"]["value"], changed["new"]["value"]) == ("Ann", "Anna")
    assert c360.json("profile", "diff", *about, *versions, "--to-version", versions[1])["traits"] == []
    assert c360.json("profile", "diff", *about, "--clock", "happened", *asked)["traits"] == []
    lines = c360.run("profile", "history", *about, *asked, "--json").stdout.splitlines()
    assert [json.loads(line)["trait"]["new"]["value"] for line in lines] == ["Ann"]
    assert (
        "VERSION_UNKNOWN" in c360.run("profile", "get", f"user_id:{user}", "--purpose", "service", "--version", "99", code=1).stderr
    )


def test_tables_show_what_json_tells(c360: Command, user: str) -> None:
    position = identify(c360, user, "first_name=Ann")
    arguments = ("profile", "get", f"user_id:{user}", "--purpose", "service", "--fresh", position, "--timeout", TIMEOUT_S)
    shown = c360.run(*arguments).stdout
    found = profile(c360, user)
    for expected in ("first_name", "Ann", "demo", found["customer_id"], found["traits"]["first_name"]["occur_time"]):
        assert expected in shown


def test_the_past_is_shown_as_it_was_known(c360: Command, user: str) -> None:
    first = identify(c360, user, "first_name=Ann")
    profile(c360, user, "--fresh", first)
    second = identify(c360, user, "first_name=Anna")
    assert profile(c360, user, "--fresh", second)["traits"]["first_name"]["value"] == "Anna"
    lines = c360.run("profile", "timeline", f"user_id:{user}", "--purpose", "audit", "--kind", "identified", "--json").stdout
    latest, earliest = [json.loads(line) for line in lines.splitlines()]
    assert latest["record_time"] > earliest["record_time"]
    then = profile(c360, user, "--known-at", earliest["record_time"])
    assert then["traits"]["first_name"]["value"] == "Ann"


def test_history_is_a_table_with_both_clocks(c360: Command, user: str) -> None:
    sent = c360.json("events", "track", "-u", user, "Order Completed", "-p", "total=12.5", "--at", "-2h")
    options = ("--purpose", "audit", "--details", "--fresh", sent["positions"][0])
    shown = c360.run("profile", "timeline", f"user_id:{user}", *options, "--timeout", TIMEOUT_S).stdout
    for expected in ("happened", "known", "tracked", "Order Completed", '"total": 12.5'):
        assert expected in shown
    order = ("--source", "demo", "--name", "Order Completed", "--since", "-3h", "--until", "-1h")
    assert "Order Completed" in c360.run("profile", "timeline", f"user_id:{user}", *options, *order).stdout
    for other in (("--source", "shop"), ("--name", "Seen"), ("--since", "-1h"), ("--until", "-3h")):
        assert "Order Completed" not in c360.run("profile", "timeline", f"user_id:{user}", *options, *other).stdout


def test_long_details_are_cut_for_eyes_only(c360: Command, user: str) -> None:
    sent = c360.json("events", "track", "-u", user, "Seen", "-p", f"note={'x' * 1000}")
    arguments = ("profile", "timeline", f"user_id:{user}", "--purpose", "audit", "--details", "--fresh", sent["position"])
    shown = c360.run(*arguments, "--timeout", TIMEOUT_S).stdout
    assert "…" in shown
    assert 200 < shown.count("x") < 400
    assert "x" * 1000 in c360.run(*arguments, "--json").stdout


def test_a_withdrawal_holds_from_the_next_read_on(c360: Command, user: str) -> None:
    profile(c360, user, "--fresh", identify(c360, user, f"email={user}@example.com"))
    email = f"email:{user}@example.com"
    read = ("profile", "get", email, "--purpose", "marketing")
    assert c360.run(*read, code=1).stderr.startswith("CONSENT_MISSING: ")
    assert c360.json("consent", "grant", email, "marketing", "--method", "web-form")["enforcing_readers"] >= 1
    c360.run(*read)
    c360.json("consent", "withdraw", email, "marketing")
    assert c360.run(*read, code=1).stderr.startswith("CONSENT_WITHDRAWN: ")
    assert c360.json("consent", "check", email, "marketing", code=1)["reason"] == "CONSENT_WITHDRAWN"
    assert c360.json("consent", "check", email, "service")["permitted"] is True
    assert [item["outcome"] for item in c360.json("consent", "decisions", email)] == ["granted", "withdrawn"]
    before = str(profile(c360, user)["version"])
    after = str(profile(c360, user, "--fresh", identify(c360, user, "plan=paid"))["version"])
    reasons = [c360.json("consent", "check", email, "marketing", "--version", one, code=1)["reason"] for one in (before, after)]
    assert reasons == ["CONSENT_MISSING", "CONSENT_WITHDRAWN"], "as it was known when the customer came to that version"


def test_a_decision_that_no_reader_enforces_tells_that_none_can_serve_without_it() -> None:
    with fresh_stack(services=["consent"]) as stack:
        alone = Command(stack.data_directory)
        told = alone.run("consent", "withdraw", "email:ann@example.com", "marketing", "--timeout", TIMEOUT_S).stderr
        assert told == "No reader is live now, and none can serve what needs consent before it has applied this decision.\n"


def test_a_purpose_is_defined_in_versions(c360: Command, tmp_path: Path) -> None:
    name, file = f"p_{uuid4().hex}", tmp_path / "purpose.json"
    define = ("consent", "purposes", "define", name, str(file), "--by", "ops", "--reason", "ticket 12")
    file.write_text(json.dumps({"legal_basis": "legitimate-interest", "traits": ["email", "plan"], "controller": "operator"}))
    assert c360.json(*define)["version"] == 1
    document = c360.json("consent", "purposes", "show", name, "--document")
    file.write_text(json.dumps(document | {"traits": ["email"], "legal_bases": {"US-CA": "contract"}}))
    c360.json(*define)
    stored = next(item for item in c360.json("consent", "purposes", "list") if item["name"] == name)
    assert (stored["version"], stored["legal_basis"], stored["traits"]) == (2, "legitimate-interest", ["email"])
    assert (stored["legal_bases"], stored["defined_by"], stored["reason"]) == ({"US-CA": "contract"}, "ops", "ticket 12")
    assert c360.json("consent", "purposes", "show", name, "--version", "1")["traits"] == ["email", "plan"]
    second, _ = c360.json("consent", "purposes", "history", name)
    assert {one["field"]: (one["removed"], one["added"]) for one in second["differences"]} == {
        "traits": (["plan"], []),
        "legal_bases": ([], ["US-CA: contract"]),
    }
    file.write_text(json.dumps(document | {"scope": "household"}))
    assert c360.run(*define, code=2).stderr.startswith("SCOPE_INVALID: ")
    file.write_text(json.dumps(document | {"shape": "round"}))
    assert c360.run(*define, code=2).stderr.startswith("DOCUMENT_INVALID: ")


def test_what_somebody_was_shown_is_told_word_for_word(c360: Command, user: str) -> None:
    shown = ("--notice", "marketing_consent@1/de", "--proof", "README.md")
    c360.json("consent", "grant", f"email:{user}@example.com", "marketing", *shown)
    [decision] = c360.json("consent", "decisions", f"email:{user}@example.com")
    assert decision["proof_sha256"] == hashlib.sha256(Path("README.md").read_bytes()).hexdigest()
    notice = c360.json("consent", "notices", "show", decision["notice"]["name"], "--version", str(decision["notice"]["version"]))
    [text] = [one for one in notice["texts"] if one["locale"] == decision["notice"]["locale"]]
    assert text["sha256"] == decision["notice"]["sha256"] == hashlib.sha256(text["text"].encode()).hexdigest()
    assert text["text"][:40] in c360.run("consent", "notices", "show", "marketing_consent").stdout
    assert "operator" in c360.run("consent", "controllers", "list").stdout


def test_a_source_gets_its_key_once_and_sends_with_it(c360: Command, user: str) -> None:
    name = f"shop-{uuid4().hex[:8]}"
    key = c360.json("sources", "create", name)["write_key"]
    assert c360.run("sources", "create", name, code=1).stderr.startswith("SOURCE_EXISTS: ")
    assert name in [item["name"] for item in c360.json("sources", "list")]
    sent = c360.json("events", "identify", "-u", user, "-t", "plan=gold", "--write-key", key)
    found = c360.json("profile", "get", f"user_id:{user}", "--purpose", "audit", "--fresh", sent["positions"][0])
    assert found["traits"]["plan"]["source"] == name


def test_an_event_of_the_far_past_is_flagged_in_the_history(c360: Command, user: str) -> None:
    sent = c360.json("events", "track", "-u", user, "Founded", "--at", "1999-01-01")
    command = ("profile", "timeline", f"user_id:{user}", "--purpose", "audit", "--fresh", sent["position"])
    assert "CLOCK_FAR_PAST" in c360.run(*command, "--timeout", "20").stdout
    lines = c360.run(*command, "--json", "--timeout", "20").stdout.splitlines()
    assert {line["kind"]: line["flags"] for line in map(json.loads, lines)}["tracked"] == ["CLOCK_FAR_PAST"]


def test_a_wrong_write_key_is_refused(c360: Command) -> None:
    done = c360.run("events", "track", "-u", "u", "Seen", "--write-key", "wrong", code=1)
    assert done.stderr.startswith("WRITE_KEY_UNKNOWN: ")


def test_a_file_is_sent_and_its_bad_lines_are_listed(c360: Command, user: str) -> None:
    lines = [
        json.dumps({"type": "identify", "userId": user, "traits": {"first_name": "Ann"}}),
        json.dumps({"type": "track", "event": "Seen by nobody"}),
        '{"type":',
        json.dumps({"type": "track", "event": "Seen", "userId": user, "properties": {"order": 2**60}}),
    ]
    tally = c360.json("events", "send", "-", code=1, text="\n".join(lines))
    assert (tally["accepted"], tally["rejected"]) == (2, 2)
    assert [item["line"] for item in tally["rejections"]] == [2, 3]
    assert tally["position"] == tally["positions"][-1]
    assert tally["reasons"] == {"IDS_MISSING": 1, "JSON_BROKEN": 1}
    fresh = [part for position in tally["positions"] for part in ("--fresh", position)]
    assert profile(c360, user, *fresh)["traits"]["first_name"]["value"] == "Ann"


def test_identity_tells_how_a_customer_came_to_be(c360: Command, user: str) -> None:
    position = identify(c360, user, f"email={user}@example.com")
    resolved = c360.json("identity", "resolve", f"user_id:{user}", "--fresh", position)
    customer = c360.json("identity", "customer", resolved["customer_id"])
    assert {item["namespace"] for item in customer["identifiers"]} == {"user_id", "email"}
    assert c360.json("identity", "customer", f"user_id:{user}") == customer
    c360.run("identity", "proposals")


def test_nobody_is_a_refusal_with_a_reason(c360: Command, user: str) -> None:
    done = c360.run("profile", "get", f"user_id:{user}", "--purpose", "service", code=1)
    assert done.stderr.startswith("IDENTIFIER_UNKNOWN: ")
    assert user not in done.stderr


def test_a_service_that_is_not_there_has_its_own_exit_code(tmp_path: Path) -> None:
    alone = Command(tmp_path)
    alone.environment["C360_CONSENT_ADDRESS"] = "127.0.0.1:1"
    assert alone.run("consent", "purposes", "list", code=3).stderr.startswith("NOT_REACHABLE: consent at 127.0.0.1:1: ")


@pytest.fixture
def watching(c360: Command, user: str) -> Iterator[subprocess.Popen[str]]:
    profile(c360, user, "--fresh", identify(c360, user, "first_name=Ann"))
    process = c360.start("profile", "watch", f"user_id:{user}", "--purpose", "service", "--json")
    with process:
        yield process
        process.kill()


def test_watching_shows_every_new_state_until_interrupted(c360: Command, user: str, watching: subprocess.Popen[str]) -> None:
    assert watching.stdout is not None
    assert json.loads(watching.stdout.readline())["traits"]["first_name"]["value"] == "Ann"
    identify(c360, user, "first_name=Anna")
    assert json.loads(watching.stdout.readline())["traits"]["first_name"]["value"] == "Anna"
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=10) == 0
