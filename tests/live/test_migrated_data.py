"""Data of the commit from which on migrations are added are gone on with: what the newer columns say of old rows, and where numbers go on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import asdict, replace

from services.migrate import ROOT, of_database
from services.profile.domain.decided import KnownDecision
from services.stack.stack import Stack
from shared.events.catalogue import encode
from shared.events.consent import DecisionRecorded, ParentalAuthorisation
from shared.store.migrate import upgrade

DATABASE = "of_an_earlier_commit"
GUARDIAN = b"g" * 32
GRANT = DecisionRecorded(
    request_id="r",
    decision_id=b"d" * 16,
    identifier_hash=b"i" * 32,
    namespace="email",
    purpose="marketing",
    purpose_version=1,
    outcome="granted",
    decided_at=7,
)
BY_GUARDIAN = ParentalAuthorisation(guardian_hash=GUARDIAN, verified_by="a call")


@pytest.fixture
def earlier(servers: Stack) -> Iterator[str]:
    """The URL of an empty database."""
    with psycopg.connect(servers.admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING 'UTF8'")
        yield of_database(servers.admin_url, DATABASE)
        admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def migrate(url: str, service: str, until: str, into: Path) -> None:
    for path in sorted((ROOT / service / "migrations").glob("[0-9]*.py")):
        if path.name[:4] <= until:
            shutil.copy(path, into)
    upgrade(url, service, into)


def test_who_authorised_a_decision_is_found_of_those_before(earlier: str, tmp_path: Path) -> None:
    migrate(earlier, "consent", "0001", tmp_path)
    with psycopg.connect(earlier, autocommit=True) as admin:
        for pos, authorised in enumerate((BY_GUARDIAN, None)):
            decision = replace(GRANT, decision_id=bytes([pos]) * 16, authorised=authorised)
            admin.execute(
                """INSERT INTO consent.decisions (pos, decision_id, value_hash, purpose, request_id, recorded_at, decision)
                   VALUES (%s, %s, %s, 'marketing', %s, 7, %s)""",
                [pos, decision.decision_id, decision.identifier_hash, str(pos), encode(decision)],
            )
        migrate(earlier, "consent", "9999", tmp_path)
        assert admin.execute("SELECT pos, guardian, follows FROM consent.decisions ORDER BY pos").fetchall() == [
            (0, GUARDIAN, None),
            (1, None, None),
        ]


def test_when_a_decision_was_made_is_found_and_numbers_go_on(earlier: str, tmp_path: Path) -> None:
    migrate(earlier, "profile", "0002", tmp_path)
    decision = KnownDecision(**asdict(GRANT), recorded_at=9)
    with psycopg.connect(earlier, autocommit=True) as admin:
        admin.execute(
            """INSERT INTO profile.decisions (bucket, value_hash, purpose, decision_id, decision, pos)
               VALUES (0, %s, 'marketing', %s, %s, 0)""",
            [decision.identifier_hash, decision.decision_id, encode(decision)],
        )
        for _ in range(3):
            admin.execute(
                """INSERT INTO profile.segment_changes
                   (segment, customer, entered, rules_version, valid_at, recorded_at, cause, event_type, event_id)
                   VALUES ('s', 'c', true, 1, 0, 0, '', '', '')"""
            )
        admin.execute("DELETE FROM profile.segment_changes WHERE number = 3")
        migrate(earlier, "profile", "9999", tmp_path)
        assert admin.execute("SELECT decided_at FROM profile.decisions").fetchall() == [(7,)]
        assert admin.execute("SELECT changes, late FROM profile.segment_progress").fetchall() == [(3, 0)]


@pytest.mark.parametrize("service", ["ingest", "identity", "profile", "consent"])
def test_what_was_there_already_by_another_name_of_the_version_is_let_be(service: str, earlier: str, tmp_path: Path) -> None:
    """Commits in between had said the same in the first migration, changed in place."""
    migrate(earlier, service, "9999", tmp_path)
    first = "0002" if service == "profile" else "0001"
    with psycopg.connect(earlier, autocommit=True) as admin:
        admin.execute(f"UPDATE {service}.alembic_version SET version_num = '{first}'")
    upgrade(earlier, service, tmp_path)
