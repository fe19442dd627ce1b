"""Files of people and of decisions, through the command."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from c360.consent.v1 import consent_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from shared.rpc.errors import reason_of
from tests.live.command import Command
from tests.live.consent_shop import DEADLINE_S, Shop, an_email


async def run(shop: Shop, *arguments: str, **more: Any) -> Any:
    return await asyncio.to_thread(Command(shop.stack.data_directory).run, *arguments, **more)


async def test_of_a_file_the_rows_of_those_who_permit_it_are_written_as_they_are(shop: Shop, tmp_path: Path) -> None:
    anna, bernd, unknown = an_email(), an_email(), str(uuid4())
    await shop.decide(anna, "marketing", pb.OUTCOME_GRANTED)
    await shop.decide(bernd, "marketing", pb.OUTCOME_WITHDRAWN)
    of_anna = f'"says ""hi"",\r\nand more",{anna.value.upper()}\r\n'
    people, permitted, others = tmp_path / "people.csv", tmp_path / "permitted.csv", tmp_path / "others.jsonl"
    people.write_bytes(f"note,contact\r\nx,{bernd.value}\r\n{of_anna}\r\ny,\r\nz\r\nlast,{anna.value}".encode())
    by: tuple[str, ...] = ("--purpose", "marketing", "--by", "email=contact")
    await run(shop, "consent", "filter", str(people), *by, "-o", str(permitted), "--excluded", str(others))
    assert permitted.read_bytes() == f"note,contact\r\n{of_anna}last,{anna.value}\n".encode()
    assert [json.loads(line) for line in others.read_text().splitlines()] == [
        {"row": 1, "line": 2, "reason": "CONSENT_WITHDRAWN"},
        {"row": 3, "line": 6, "reason": "IDENTIFIER_MISSING"},
        {"row": 4, "line": 7, "reason": "COLUMNS_WRONG"},
    ]
    lines = f'{{"who": {{"id": "{unknown}"}}}}\nno json\n'
    by = ("--purpose", "service", "--by", "customer_id=who.id", "--format", "jsonl")
    done = await run(shop, "consent", "filter", "-", *by, text=lines)
    assert (done.stdout, done.stderr) == ("", "0 permitted, 2 excluded: 1 CUSTOMER_UNKNOWN, 1 JSON_BROKEN\n")


async def test_what_is_no_file_of_people_is_refused_and_nothing_is_written(shop: Shop, tmp_path: Path) -> None:
    people, permitted = tmp_path / "people.csv", tmp_path / "permitted.csv"
    people.write_text("email\nanna@example.com\n")
    for by, purpose, code, reason in (("phone", "marketing", 2, "COLUMN_UNKNOWN"), ("email", "nothing", 1, "PURPOSE_UNKNOWN")):
        options = ("--purpose", purpose, "--by", by, "-o", str(permitted))
        done = await run(shop, "consent", "filter", str(people), *options, code=code)
        assert done.stderr.startswith(reason)
    assert sorted(tmp_path.iterdir()) == [people]


async def test_who_stands_on_a_list_by_hash_alone_gets_nothing_whenever_the_address_is_learnt(shop: Shop, tmp_path: Path) -> None:
    anna, file, rejects = an_email(), tmp_path / "optouts.csv", tmp_path / "rejects.jsonl"
    await shop.decide(anna, "marketing", pb.OUTCOME_GRANTED, decide_time=Timestamp(seconds=1_600_000_000))
    file.write_text(f"hash\n{hashlib.sha256(anna.value.encode()).hexdigest().upper()}\nno hash\n")
    options = ("--by", "email_sha256=hash", "--purpose", "marketing", "--outcome", "withdrawn", "--decided-at", "2024-05-01")
    done = await run(shop, "consent", "import", str(file), *options, "--method", "industry-list", "--rejects", str(rejects), code=1)
    assert done.stderr == "1 recorded, 1 refused: 1 IDENTIFIER_INVALID\n"
    assert [json.loads(line) for line in rejects.read_text().splitlines()] == [
        {"row": 2, "line": 3, "reason": "IDENTIFIER_INVALID"}
    ]
    assert [one.method for one in await shop.decisions(anna)] == ["", "industry-list"]
    assert (await shop.check("marketing", identifier=anna)).reason == "CONSENT_WITHDRAWN"


async def test_decisions_of_a_file_are_recorded_with_their_instants_once_however_often(shop: Shop, tmp_path: Path) -> None:
    anna, bernd, rejects = an_email(), an_email(), tmp_path / "rejects.jsonl"
    rows = [
        {"email": anna.value, "decided_at": "2024-05-01T10:00:00+02:00", "method": "paper", "confirmed": True},
        {"email": bernd.value, "decided_at": "2024-05-01 08:00", "outcome": "withdrawn", "purpose": "analytics"},
        {"email": "nobody", "decided_at": "2024-05-01"},
        {"email": anna.value},
        {"email": anna.value, "decided_at": "2999-01-01"},
        {"email": anna.value, "decided_at": "2024-05-01", "outcome": "perhaps"},
        {"email": anna.value, "decided_at": "2024-05-01", "notice": "marketing_consent@9/en"},
    ]
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    options = ("--by", "email", "--purpose", "marketing", "--outcome", "granted", "--rejects", str(rejects))
    for _ in range(2):
        await run(shop, "consent", "import", str(decisions), *options, code=1)
        assert [json.loads(line) for line in rejects.read_text().splitlines()] == [
            {"row": 3, "line": 3, "reason": "IDENTIFIER_INVALID"},
            {"row": 4, "line": 4, "reason": "INSTANT_INVALID"},
            {"row": 5, "line": 5, "reason": "INSTANT_IN_FUTURE"},
            {"row": 6, "line": 6, "reason": "OUTCOME_MISSING"},
            {"row": 7, "line": 7, "reason": "NOTICE_UNKNOWN"},
        ]
    [granted], [withdrawn] = await shop.decisions(anna), await shop.decisions(bernd)
    assert (granted.purpose, granted.outcome, granted.method, granted.confirmed) == ("marketing", pb.OUTCOME_GRANTED, "paper", True)
    assert (withdrawn.purpose, withdrawn.outcome, withdrawn.method) == ("analytics", pb.OUTCOME_WITHDRAWN, "import")
    assert granted.decide_time == withdrawn.decide_time == Timestamp(seconds=1714550400)


async def test_what_is_kept_of_a_file_tells_nobody_what_it_says(shop: Shop, tmp_path: Path) -> None:
    anna, file = an_email(), tmp_path / "one.jsonl"
    file.write_text(json.dumps({"email": anna.value, "decided_at": "2024-05-01"}) + "\n")
    options = ("--by", "email", "--purpose", "marketing", "--outcome", "granted")
    await run(shop, "consent", "import", str(file), *options)
    connection = await asyncpg.connect(shop.stack.environment_of("consent")["C360_DATABASE_URL"])
    try:
        rows = await connection.fetch("SELECT request_id, decision FROM consent.decisions ORDER BY pos DESC LIMIT 1")
        headers = await connection.fetchval("SELECT string_agg(header, ''::bytea) FROM consent.events")
    finally:
        await connection.close()
    guessed = hashlib.sha256(file.read_bytes()).hexdigest()
    assert rows[0]["request_id"].startswith("import-")
    assert rows[0]["request_id"].endswith("-1")
    assert guessed[:16].encode() not in headers + rows[0]["decision"]
    batch = pb.RecordDecisionsRequest(decisions=[pb.RecordDecisionRequest(request_id="1")], file_sha256="no hash")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await shop.calls.RecordDecisions(batch, timeout=DEADLINE_S)
    assert reason_of(refused.value) == "FILE_SHA256_INVALID"


async def test_many_decisions_are_recorded_as_each_alone_would_be(shop: Shop) -> None:
    anna, name = an_email(), str(uuid4())
    one = pb.RecordDecisionRequest(request_id=name, identifier=anna, purpose="marketing", outcome=pb.OUTCOME_GRANTED)
    other, wrong = pb.RecordDecisionRequest(), pb.RecordDecisionRequest()
    other.CopyFrom(one)
    other.outcome = pb.OUTCOME_WITHDRAWN
    wrong.CopyFrom(one)
    wrong.request_id, wrong.purpose = f"{name}-2", "nobody_defined_this"
    batch = pb.RecordDecisionsRequest(decisions=[one, wrong, one, other])
    for _ in range(2):
        first, *rest = (await shop.calls.RecordDecisions(batch, timeout=DEADLINE_S)).results
        assert [found.refusal.reason for found in rest] == ["PURPOSE_UNKNOWN", "", "REQUEST_ID_REUSED"]
        assert first == rest[1]
        assert [decision.decision_id for decision in await shop.decisions(anna)] == [first.decision_id]


async def test_a_decision_has_a_receipt_made_of_what_was_in_force_when_the_person_decided(shop: Shop) -> None:
    anna, notice = an_email(), pb.NoticeShown(name="marketing_consent", version=1, locale="de")
    granted = await shop.decide(anna, "marketing", pb.OUTCOME_GRANTED, method="web-form", notice=notice)
    told = json.loads((await run(shop, "consent", "receipt", granted.decision_id, "--format", "kantara")).stdout)
    assert told["consentReceiptID"] == granted.decision_id
    assert (told["collectionMethod"], told["language"]) == ("web-form", "de")
    assert told["piiPrincipalId"] == shop.hash_of(anna).hex()
    record = json.loads((await run(shop, "consent", "receipt", granted.decision_id)).stdout)["dpv:hasRecordOfActivity"]
    assert record["dpv:hasConsentStatus"]["@type"] == "dpv:ConsentGiven"
    assert record["dpv:hasNotice"]["dct:identifier"] == "urn:c360:notice:marketing_consent:1:de"
    assert (await run(shop, "consent", "receipt", str(uuid4()), code=1)).stderr.startswith("DECISION_UNKNOWN")
