"""`c360 audit who-read` and `uses`, of what was really read."""

import json
from typing import Any

from tests.live.audited import Audited


def test_who_read_is_told_with_the_decision_that_it_follows_from(audited: Audited) -> None:
    c360 = audited.c360

    def lines(*arguments: str) -> list[Any]:
        return [json.loads(line) for line in c360.run("audit", *arguments, "--json").stdout.splitlines()]

    c360.run("profile", "get", "email:ann@example.com", "--purpose", "marketing")
    newest = lines("who-read", "email:ann@example.com", "--purpose", "marketing")[0]
    assert (newest["call"], newest["verdict"]) == ("GetProfile", "partial")
    [decision] = newest["decision_ids"]
    assert lines("uses", decision)[0]["disclosure_id"] == newest["disclosure_id"]
    assert "GetProfile" in c360.run("audit", "who-read", "email:ann@example.com").stdout
    assert "the same answer follows" in c360.run("audit", "re-derive", newest["disclosure_id"]).stdout
    assert lines("exposures", "email:ann@example.com") == []
    assert lines("who-read", "email:ann@example.com", "--caller", "nobody-of-that-name") == []
    assert newest in lines("who-read", "--purpose", "marketing", "--field", newest["fields"][0])
    assert lines("who-read", "--caller", "nobody-of-that-name") == []
    [last] = lines("exposures", "--since", "-1h")
    assert last["summary"]["read_count"] == 0
    assert "none" in c360.run("audit", "exposures").stdout
    c360.run("audit", "exposures", "email:ann@example.com", "--until", "-1h", code=2)


def test_another_policy_is_tried_on_what_was_really_read(audited: Audited) -> None:
    c360 = audited.c360
    c360.run("profile", "get", "email:ann@example.com", "--purpose", "marketing")
    asked = ("audit", "simulate", "--if", "marketing invalid since -1h", "--purpose", "marketing")
    *reads, last = [json.loads(line) for line in c360.run(*asked, "--json").stdout.splitlines()]
    assert {(one["verdict"], one["reason"]) for one in reads} == {("deny", "PURPOSE_INVALID")}
    report = last["report"]
    assert report["unlawful"]["read_count"] == len(reads) > 0
    assert report["unreproduced_count"] == 0
    assert [one["count"] for one in report["unlawful"]["purposes"]] == [len(reads)]
    shown = c360.run(*asked, "--limit", "0").stdout
    assert f"{len(reads)} reads of 1 customers" in shown
    unchanged = [json.loads(line) for line in c360.run("audit", "simulate", "--json").stdout.splitlines()]
    assert len(unchanged) == 1, "each read follows from what is known"
    assert unchanged[0]["report"]["read_count"] > 0
    c360.run("audit", "simulate", "--if", "marketing nonsense", code=2)
