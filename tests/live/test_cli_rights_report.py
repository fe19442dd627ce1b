"""`c360 rights report` against the real services: all that is known of the person, and only for whom somebody checked."""

import hashlib
import json
import os
from pathlib import Path

import jsonschema_rs
import pytest

from services.stack.stack import Stack
from tests.live.command import Command
from tests.live.test_cli import identify
from tests.live.test_cli_rights import BY, steps, verified


@pytest.fixture(scope="module")
def c360(stack: Stack) -> Command:
    stack.write_key()
    return Command(stack.data_directory)


def test_a_person_gets_all_that_is_known(c360: Command, tmp_path: Path) -> None:
    user, out = f"u-{os.urandom(8).hex()}", tmp_path / "report"
    first = identify(c360, user, "first_name=Ann", "note=<script>alert(1)</script>")
    c360.json("profile", "get", f"user_id:{user}", "--purpose", "service", "--fresh", first)
    c360.run("consent", "record", f"user_id:{user}", "advertising", "granted", "--method", "web-form")
    unchecked = c360.json("rights", "open", f"user_id:{user}", "access", *BY)["rights_request_id"]
    assert "IDENTITY_NOT_CHECKED" in c360.run("rights", "report", unchecked, "--out", str(out), *BY, code=1).stderr
    assert not out.exists()

    request = verified(c360, user, "access")
    c360.run("rights", "report", request, "--out", str(out), *BY)
    assert {path.name for path in out.iterdir()} == {"report.json", "report.schema.json", "report.html", "report.pdf"}
    assert (out.stat().st_mode & 0o077, list(tmp_path.iterdir())) == (0, [out])
    report = json.loads((out / "report.json").read_text())
    jsonschema_rs.validator_for((out / "report.schema.json").read_text()).validate(report)
    assert {"record": "identifier", "namespace": "user_id", "value": user} in report["identifiers"]
    traits = {one["name"]: one["value"] for one in report["traits"]}
    assert traits["first_name"] == "Ann"
    assert [one["kind"] for one in report["events"] if one["source"]] == ["identified"]
    assert [(one["purpose"], one["outcome"]) for one in report["decisions"]] == [("advertising", "granted")]
    assert {one["name"]: one["permitted"] for one in report["purposes"]}["advertising"]
    assert report["sources"][0]["events"] == 1
    assert "service@1" in {one["purpose_version"] for one in report["disclosures"]}, "who read it before"
    page = (out / "report.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF-")

    assert "OUTPUT_NOT_WRITTEN" in c360.run("rights", "report", request, "--out", str(out), *BY, code=2).stderr
    c360.json("rights", "fulfil", request, "--proof", str(out / "report.json"), *BY)
    assert steps(c360, request)[-1]["proof_sha256"] == hashlib.sha256((out / "report.json").read_bytes()).hexdigest()

    request, copy = verified(c360, user, "portability"), tmp_path / "copy"
    c360.run("rights", "report", request, "--out", str(copy), *BY)
    schema = jsonschema_rs.validator_for((copy / "data.schema.json").read_text())
    records = [json.loads(line) for line in (copy / "data.jsonl").read_text().splitlines()]
    for record in records:
        schema.validate(record)
    assert {record["record"] for record in records} == {"identifier", "trait", "decision", "event"}
    other = verified(c360, user, "objection")
    assert "RIGHT_DOES_NOT_FIT" in c360.run("rights", "report", other, "--out", str(tmp_path / "x"), *BY, code=2).stderr
