"""`c360 profile rules`, `explain`, `whatif` and `segments` against the real services."""

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.live.command import Command
from tests.stacks import fresh_stack
from tests.waiting import eventually

WHY = ("--by", "ops", "--reason", "ticket 12")


@pytest.fixture(scope="module")
def c360() -> Iterator[Command]:
    """On a stack of its own: rules are tried on everybody there is."""
    with fresh_stack() as stack:
        stack.write_key()
        yield Command(stack.data_directory)


def written(directory: Path, document: Any) -> str:
    file = directory / "rules.json"
    file.write_text(json.dumps(document))
    return str(file)


def activate(c360: Command, file: str, *more: str) -> Any:
    activated = c360.json("profile", "rules", "activate", file, *WHY, *more)
    eventually(lambda: c360.json("profile", "rules", "show")["rules"]["settled"])
    return activated


def test_a_value_that_nobody_has_is_hinted_at(c360: Command, tmp_path: Path) -> None:
    user = f"user-{uuid4()}"
    sent = c360.json("events", "identify", "-u", user, "-t", "country=Germany")
    c360.json("profile", "get", f"user_id:{user}", "--purpose", "audit", "--fresh", sent["positions"][0])
    file = written(tmp_path, {"segments": {"de": {"when": "traits.country == 'Germny'"}}})
    [hint] = c360.json("whatif", file, "--purpose", "audit")["hints"]
    assert hint == {"definition": "segments.de", "reason": "VALUE_OF_NOBODY", "path": "traits.country", "value": "Germny"}
    assert 'segments.de: of nobody traits.country is, or holds, "Germny"' in c360.run("whatif", file, "--purpose", "audit").stderr


def test_rules_are_tried_activated_explained_and_given_back(c360: Command, tmp_path: Path) -> None:
    user, trait, address = f"user-{uuid4()}", f"plan_{uuid4().hex}", f"address_{uuid4().hex}"
    for value, said in (("gold", '{"street": "a", "town": "b"}'), ("gold", '{"street": "c"}'), ("silver", '{"street": "c"}')):
        sent = c360.json("events", "identify", "-u", user, "-t", f"{trait}={value}", "-t", f"{address}={said}")
    about = (f"user_id:{user}", "--purpose", "audit", "--fresh", sent["positions"][0])
    profile = c360.json("profile", "get", *about)
    assert profile["traits"][trait]["value"] == "silver"

    before = c360.json("profile", "rules", "show")
    other = before["document"] | {"traits": {trait: {"rule": "most_frequent"}, address: {"rule": "most_recent", "by_field": True}}}
    file = written(tmp_path, other)
    blind = c360.json("whatif", file, "--purpose", "service")
    assert (trait in blind["difference"]["withheld_traits"], blind["difference"]["traits"], blind["examples"]) == (True, {}, [])
    report = c360.json("whatif", file, "--purpose", "audit")
    assert report["difference"]["traits"] == {trait: 1, address: 1}
    [example] = [one for one in report["examples"] if one["trait"] == trait]
    assert (example["before"]["value"], example["after"]["value"]) == ("silver", "gold")

    activated = activate(c360, file, "--purpose", "audit")
    assert activated["version"] == before["rules"]["version"] + 1
    assert activated["expected"] == report["difference"]
    shown = {
        one: c360.json("profile", "rules", "show", *one)["rules"]["expected"] for one in ((), ("-P", "service"), ("-P", "audit"))
    }
    assert list(shown.values()) == [None, None, report["difference"]], "to who asks for what it was counted for"
    assert "RULES_UNCHANGED" in c360.run("profile", "rules", "activate", file, *WHY, code=1).stderr
    profile = c360.json("profile", "get", *about)
    assert (profile["traits"][trait]["value"], profile["rules_version"]) == ("gold", activated["version"])
    assert c360.json("profile", "get", *about, "--rules", "1")["traits"][trait]["value"] == "silver"

    found = c360.json("profile", "explain", f"user_id:{user}", trait, "--purpose", "audit")
    assert (found["value"], found["rule"], found["named"]) == ("gold", {"rule": "most_frequent"}, True)
    told = [(one["value"], one["chosen"], one["lost"]) for one in found["assertions"]]
    assert told == [("silver", False, "LESS_FREQUENT"), ("gold", True, ""), ("gold", False, "OLDER")]
    assert found["assertions"][1]["event_id"] == profile["traits"][trait]["event_id"]
    of_address = ("profile", "explain", f"user_id:{user}", address, "--purpose", "audit")
    found = c360.json(*of_address)
    assert found["value"] == {"street": "c", "town": "b"}
    verdicts = [[(one["name"], one["chosen"], one["lost"]) for one in said["fields"]] for said in found["assertions"]]
    assert verdicts == [[("street", True, "")], [("street", False, "OLDER")], [("street", False, "OLDER"), ("town", True, "")]]
    lines = [line.split() for line in c360.run(*of_address).stdout.splitlines()]
    assert [(line[0], line[1], line[-1]) for line in lines if line and line[0] in ("street", "town")] == [
        ("street", '"c"', "chosen"),
        ("street", '"c"', "OLDER"),
        ("street", '"a"', "OLDER"),
        ("town", '"b"', "chosen"),
    ]
    refused = c360.run("profile", "explain", f"user_id:{user}", trait, "--purpose", "service", code=1)
    assert "NOT_IN_PURPOSE" in refused.stderr
    assert "LESS_FREQUENT" in c360.run("profile", "explain", f"user_id:{user}", trait, "--purpose", "audit").stdout

    activate(c360, written(tmp_path, before["document"]))
    assert c360.json("profile", "get", *about)["traits"][trait]["value"] == "silver"
    then = ("--known-at", activated["record_time"])
    assert c360.json("profile", "get", *about, *then)["traits"][trait]["value"] == "gold", "the rules of then"
    assert c360.json("profile", "get", *about, *then, "--rules", "now")["traits"][trait]["value"] == "silver"
    differs = ("profile", "diff", f"user_id:{user}", "--purpose", "audit", "--from", activated["record_time"], "--trait", trait)
    [changed] = c360.json(*differs)["traits"]
    assert (changed["old"]["value"], changed["new"]["value"]) == ("gold", "silver")
    assert (changed["cause"]["kind"], changed["cause"]["rules_version"]) == ("rules", activated["version"] + 1)


def test_rules_that_cannot_be_are_refused(c360: Command, tmp_path: Path) -> None:
    documents: list[Any] = [{"traits": {"size": {"rule": "max"}}}, {"trait": {}}, {"traits": {"plan": {"rule": "source_priority"}}}]
    for document in documents:
        refused = c360.run("whatif", written(tmp_path, document), "-P", "audit", code=1)
        assert "RULES_INVALID" in refused.stderr
    assert "PURPOSE_MISSING" in c360.run("whatif", written(tmp_path, {}), "-P", "", code=1).stderr, "a count may tell of one person"


def watched_until_interrupted(c360: Command, segment: str, user: str, trait: str, customer: str) -> None:
    with c360.start("segments", "watch", segment, "-P", "audit", "--json") as watching:
        try:
            assert watching.stdout is not None
            assert json.loads(watching.stdout.readline()) == {"customer_id": customer, "change": "in"}
            c360.json("events", "identify", "-u", user, "-t", f"{trait}=silver")
            assert json.loads(watching.stdout.readline()) == {"customer_id": customer, "change": "left"}
            c360.json("events", "identify", "-u", user, "-t", f"{trait}=gold")
            assert json.loads(watching.stdout.readline()) == {"customer_id": customer, "change": "entered"}
            watching.send_signal(signal.SIGINT)
            assert watching.wait(timeout=10) == 0
        finally:
            watching.kill()


def test_segments_are_listed_with_their_members_and_history(c360: Command, tmp_path: Path) -> None:
    user, trait, name = f"user-{uuid4()}", f"plan_{uuid4().hex}", f"gold_{uuid4().hex}"
    before = c360.json("profile", "rules", "show")
    segment = {"when": f"traits.{trait} == 'gold'", "title": "Gold"}
    told = {"of": "event.type == 'identify'", "aggregate": "count"}
    activated = activate(c360, written(tmp_path, before["document"] | {"segments": {name: segment}, "computed": {"told": told}}))
    c360.run(
        "segments", "members", name, "-P", "audit", "--timeout", "30"
    )  # waits until all were looked at: until then rules are the cause
    sent = c360.json("events", "identify", "-u", user, "-t", f"{trait}=gold")
    profile = c360.json("profile", "get", f"user_id:{user}", "--purpose", "audit", "--fresh", sent["positions"][0])
    fresh = ("--fresh", sent["positions"][0])
    listed = c360.run("segments", "members", name, "-P", "audit", *fresh, "--json", "--timeout", "30")
    [member] = [json.loads(line) for line in listed.stdout.splitlines()]
    size = c360.run("segments", "list", "-P", "audit", *fresh, "--json")
    assert json.loads(size.stdout)["size"] == 1
    sizes = c360.run("segments", "size", name, "-P", "audit", "--step", "1h", "--json").stdout.splitlines()
    first, last = json.loads(sizes[0]), json.loads(sizes[-1])
    assert [(one["size"], one["unknown"]) for one in (first, last)] == [(None, "not_begun"), (1, "")]
    assert member["customer_id"] == profile["customer_id"]
    instant = datetime.now(UTC).isoformat()
    then = c360.run("segments", "members", name, "-P", "audit", "--known-at", instant, "--json", "--timeout", "30").stdout
    assert [json.loads(line) for line in then.splitlines()] == [member | {"enter_time": None}]
    assert not c360.run("segments", "members", name, "-P", "audit", "--valid-at", "-1d", "--json", "--timeout", "30").stdout
    about = ("segments", "history", name, "-P", "audit")
    [change] = [json.loads(line) for line in c360.run(*about, "--customer", f"user_id:{user}", "--json").stdout.splitlines()]
    assert (change["change"], change["cause"], change["event_id"]) == ("entered", "event", profile["traits"][trait]["event_id"])
    assert "entered" in c360.run(*about).stdout
    assert c360.json("segments", "of", f"user_id:{user}", "-P", "audit")["segments"] == [name]
    lines = c360.run("profile", "history", f"user_id:{user}", "-P", "audit", "--json").stdout.splitlines()
    [entered] = [found for line in lines if (found := json.loads(line)["segment"])]
    assert (entered["name"], entered["entered"], entered["cause"]["event_id"]) == (name, True, change["event_id"])
    assert c360.json("segments", "of", f"user_id:{user}", "-P", "service")["withheld_segments"] == [name]
    assert "NOT_IN_PURPOSE" in c360.run("segments", "members", name, "-P", "service", code=1).stderr
    shown = c360.run("profile", "explain", f"user_id:{user}", "told", "-P", "audit").stdout
    assert all(word in shown for word in ("1 events", "(counts)", "occurred", "sent", "received", "recorded", "chosen")), shown
    assert f"v{activated['version']}" in c360.run("profile", "get", f"user_id:{user}", "-P", "audit").stdout
    watched_until_interrupted(c360, name, user, trait, profile["customer_id"])
    shown = c360.run("whatif", written(tmp_path, before["document"]), "-P", "audit").stdout
    assert name in shown
    assert "leaves" in shown
    activate(c360, written(tmp_path, before["document"]))
    assert "SEGMENT_UNKNOWN" in c360.run("segments", "members", name, "-P", "audit", code=1).stderr
