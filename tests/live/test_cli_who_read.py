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
