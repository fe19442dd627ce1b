"""Whoever alters profile's copy of what consent recorded deceives a read and what is re-derived of it alike: consent's own log tells."""

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import psycopg
import pytest
from c360.profile.v1 import disclosure_pb2
from c360.profile.v1.disclosure_pb2_grpc import DisclosureServiceStub
from psycopg.rows import dict_row

from services.cli.against_consent import READ_TAKES, compare
from services.cli.remote_log import RemoteLog
from services.profile.domain.decided import KnownDecision
from shared.consent_copies import as_recorded
from shared.events.catalogue import encode
from shared.events.consent import PurposeDefined
from tests.e2e.client import DEADLINE_S
from tests.live.audited import PEOPLE, Audited
from tests.stacks import fresh_stack

Connection = psycopg.Connection[dict[str, Any]]
Row = dict[str, Any]

decode_decision = msgspec.msgpack.Decoder(KnownDecision).decode
decode_purpose = msgspec.msgpack.Decoder(PurposeDefined).decode
MADE_UP = bytes(16)
people = itertools.cycle(range(PEOPLE))


@pytest.fixture(scope="module")
def audited() -> Iterator[Audited]:
    """On servers of its own: who is deceived leaves records that other tests would find."""
    with fresh_stack() as stack, tempfile.TemporaryDirectory(prefix="c360-test-") as directory:
        yield Audited(stack, Path(directory))


@contextmanager
def altering(audited: Audited) -> Iterator[Connection]:
    """As a superuser, in profile's copy; what was there is put back afterwards."""
    url = audited.stack.admin_url.rsplit("/", 1)[0] + "/c360"
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SET search_path TO profile")
        for table in ("decisions", "purposes"):
            connection.execute(f"CREATE TEMPORARY TABLE saved_{table} AS TABLE {table}")
        try:
            yield connection
        finally:
            kept = "SELECT decision_id FROM saved_decisions"
            connection.execute(f"DELETE FROM decisions WHERE decision_id IN ({kept}) OR decision_id = %s", [MADE_UP])
            connection.execute("INSERT INTO decisions SELECT * FROM saved_decisions")
            connection.execute("DELETE FROM purposes")
            connection.execute("INSERT INTO purposes SELECT * FROM saved_purposes")


def newest_read(audited: Audited, address: str) -> str:
    listed = audited.c360.run("audit", "who-read", address, "--purpose", "marketing", "--limit", "1", "--json").stdout
    return str(json.loads(listed.splitlines()[0])["disclosure_id"])


def rederived(audited: Audited, disclosure: str, code: int) -> tuple[bool, list[str]]:
    found = audited.c360.json("audit", "re-derive", disclosure, code=code)
    return found["agrees"], found["against_consent"]["findings"]


def decision(connection: Connection) -> Row:
    """The newest that profile knows about marketing."""
    row = connection.execute(
        "SELECT * FROM decisions WHERE purpose = 'marketing' ORDER BY pos DESC, decision_id LIMIT 1"
    ).fetchone()
    assert row is not None
    return row


def put(connection: Connection, row: Row, made: KnownDecision) -> None:
    connection.execute(
        "INSERT INTO decisions (bucket, value_hash, purpose, decision_id, decided_at, decision, pos) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [row["bucket"], row["value_hash"], made.purpose, made.decision_id, made.decided_at, encode(made), row["pos"]],
    )


def remove(connection: Connection, row: Row) -> None:
    connection.execute("DELETE FROM decisions WHERE decision_id = %s", [row["decision_id"]])


def altered(connection: Connection, **fields: Any) -> None:
    row = decision(connection)
    remove(connection, row)
    put(connection, row, msgspec.structs.replace(decode_decision(row["decision"]), **fields))


def withdrawal_turned(connection: Connection) -> None:
    altered(connection, outcome="granted")


def withdrawal_gone(connection: Connection) -> None:
    remove(connection, decision(connection))


def grant_made_up(connection: Connection) -> None:
    row = decision(connection)
    made = decode_decision(row["decision"])
    put(connection, row, msgspec.structs.replace(made, decision_id=MADE_UP, outcome="granted", decided_at=made.decided_at + 1))


def told_as_older(connection: Connection) -> None:
    made = decode_decision(decision(connection)["decision"])
    altered(connection, decided_at=1, recorded_at=made.recorded_at)


ALTERED, REMOVED, ADDED = ["DECISION_MISSING", "DECISION_NOT_IN_LOG"], ["DECISION_MISSING"], ["DECISION_NOT_IN_LOG"]


@pytest.mark.parametrize(
    ("attack", "findings"),
    [
        (withdrawal_turned, ALTERED),
        (withdrawal_gone, REMOVED),
        (grant_made_up, ADDED),
        (told_as_older, ALTERED),
    ],
)
def test_a_decision_that_consent_did_not_record_so_is_told(
    audited: Audited, attack: Callable[[Connection], None], findings: list[str]
) -> None:
    """She withdrew, and is read all the same: the read and its re-derivation agree, and the log doesn't."""
    address, c360 = f"email:p{next(people)}@example.com", audited.c360
    c360.json("consent", "grant", address, "marketing", "--notice", "marketing_consent@1/en")
    c360.json("consent", "withdraw", address, "marketing")
    with altering(audited) as connection:
        attack(connection)
        c360.json("consent", "withdraw", address, "advertising")  # so that nothing of her is kept in memory
        c360.run("profile", "get", address, "--purpose", "marketing")
        assert rederived(audited, newest_read(audited, address), 1) == (True, findings)
        said = c360.run("audit", "re-derive", newest_read(audited, address), code=1).stdout
        assert findings[0] in said


def test_a_read_that_nobody_deceived_is_told_to_rest_on_the_log(audited: Audited) -> None:
    address = f"email:p{next(people)}@example.com"
    audited.c360.json("consent", "grant", address, "marketing", "--notice", "marketing_consent@1/en")
    audited.c360.run("profile", "get", address, "--purpose", "marketing")
    audited.c360.json("consent", "withdraw", address, "marketing")
    assert rederived(audited, newest_read(audited, address), 0) == (True, []), "what was decided later isn't missing"
    audited.c360.run("profile", "get", address, "--purpose", "marketing", code=1)
    assert rederived(audited, newest_read(audited, address), 0) == (True, []), "nor of a refusal"
    assert "stand in consent's log" in audited.c360.run("audit", "re-derive", newest_read(audited, address)).stdout


def test_a_purpose_that_consent_did_not_define_so_is_told(audited: Audited) -> None:
    address = f"email:p{next(people)}@example.com"
    audited.c360.json("consent", "grant", address, "marketing", "--notice", "marketing_consent@1/en")
    audited.c360.run("profile", "get", address, "--purpose", "marketing")
    read = newest_read(audited, address)
    with altering(audited) as connection:
        row = connection.execute("SELECT * FROM purposes WHERE name = 'marketing' ORDER BY version DESC LIMIT 1").fetchone()
        assert row is not None
        wider = encode(msgspec.structs.replace(decode_purpose(row["purpose"]), traits=("*",)))
        connection.execute("UPDATE purposes SET purpose = %s WHERE name = 'marketing' AND version = %s", [wider, row["version"]])
        assert rederived(audited, read, 1)[1] == ["PURPOSE_MISSING", "PURPOSE_NOT_IN_LOG"]


def test_a_read_by_a_version_that_had_long_been_replaced_is_told(audited: Audited) -> None:
    """A deceived reader goes by the old version and tells all else as it is; one that was under way when the new one came does so too."""
    address, c360, document = "email:ann@example.com", audited.c360, audited.folder / "surveys.json"
    for description in ("Ask how it was", "Ask how it was, and what is missing"):
        document.write_text(json.dumps({"description": description, "legal_basis": "contract", "traits": ["city"]}))
        c360.run("consent", "purposes", "define", "surveys", str(document), "--by", "legal", "--reason", "ticket 12")
    c360.run("profile", "get", address, "--purpose", "surveys")
    listed = c360.run("audit", "who-read", address, "--purpose", "surveys", "--limit", "1", "--json").stdout
    endpoints = audited.stack.endpoints
    with grpc.insecure_channel(endpoints.profile) as profile, grpc.insecure_channel(endpoints.consent) as consent:
        request = disclosure_pb2.RederiveDisclosureRequest(disclosure_id=json.loads(listed.splitlines()[0])["disclosure_id"])
        told = DisclosureServiceStub(profile).RederiveDisclosure(request, timeout=DEADLINE_S)
        log = RemoteLog(consent, DEADLINE_S)
        assert (told.disclosure.purpose_version, compare(log, told).findings) == ("surveys@2", [])
        told.disclosure.purpose_version = "surveys@1"
        assert compare(log, told).findings == [], "it may have been under way"
        told.disclosure.read_time.FromMicroseconds(told.disclosure.read_time.ToMicroseconds() + READ_TAKES)
        assert compare(log, told).findings == ["PURPOSE_OVERTAKEN"]


def test_an_event_that_was_altered_in_both_is_told(audited: Audited) -> None:
    """Of the log alone nobody can believe what no checkpoint has."""
    address = f"email:p{next(people)}@example.com"
    audited.c360.json("consent", "grant", address, "marketing", "--notice", "marketing_consent@1/en")
    audited.c360.run("profile", "get", address, "--purpose", "marketing")
    read = newest_read(audited, address)
    with altering(audited) as connection, audited.tampering("consent") as consent:
        row = decision(connection)
        made = msgspec.structs.replace(decode_decision(row["decision"]), method="made up")
        altered(connection, method="made up")
        consent.execute(
            "UPDATE events SET header = %s WHERE pos = (SELECT max(pos) FROM events WHERE type_id = 'consent.decision_recorded')",
            [encode(as_recorded(made))],
        )
        assert rederived(audited, read, 1)[1] == ["EVENT_UNPROVED"]


def test_grants_that_went_with_an_erasure_are_not_missing(audited: Audited) -> None:
    user = next(people)
    address, c360 = f"email:p{user}@example.com", audited.c360
    c360.json("consent", "grant", address, "marketing", "--notice", "marketing_consent@1/en")
    c360.run("profile", "get", address, "--purpose", "marketing")
    read = newest_read(audited, address)
    c360.run(
        "customer",
        "erase",
        f"user_id:user-{user}",
        "--by",
        "dpo",
        "--reason",
        "ticket 12",
        "--yes",
        "-o",
        str(audited.folder / "gone"),
    )
    found = c360.json("audit", "re-derive", read, code=1)
    assert found["redacted_events"] > 0
    assert (found["against_consent"]["findings"], found["against_consent"]["forgotten"]) == ([], 1)
