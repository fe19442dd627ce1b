"""`c360 audit verify` on a running system: whatever a superuser does to the tables is found and named."""

from typing import Any

import psycopg
import pytest

from shared.log import merkle
from shared.log.records import COLUMNS, leaf_of, to_record
from tests.live.audited import Audited

Connection = psycopg.Connection[dict[str, Any]]


def fullest(connection: Connection) -> tuple[int, int]:
    """A partition with several events under a checkpoint, and how many it has."""
    row = connection.execute("SELECT partition, next_pos FROM partition_heads ORDER BY next_pos DESC LIMIT 1").fetchone()
    assert row is not None
    assert row["next_pos"] > 8
    return row["partition"], row["next_pos"]


def test_a_log_that_nobody_touched_is_right(audited: Audited) -> None:
    found = audited.verify("--key", audited.key)
    assert found["findings"] == []
    assert [part["partition"] for part in found["partitions"]] == [
        "ingest/0",
        "identity/0",
        "profile/0",
        "profile/1",
        "profile/2",
        "profile/3",
        "consent/0",
        "disclosures/0",
    ]
    assert sum(part["events"] for part in found["partitions"]) > 50
    assert set(found["public_keys"].values()) == {audited.key}
    kept = audited.folder / "all"
    audited.c360.run("audit", "checkpoints", "-o", str(kept))
    said = audited.c360.run("audit", "verify").stdout
    events = sum(part["events"] for part in audited.verify()["partitions"])
    assert f"nothing contradicts anything: {events} of {events} events are covered by a signed checkpoint" in said
    assert "without --key" in said
    assert "without --kept" in said
    assert "without" not in audited.c360.run("audit", "verify", "--key", audited.key, "--kept", str(kept)).stdout


def test_it_says_no_more_than_is_signed(audited: Audited) -> None:
    with audited.tampering("consent") as connection:
        connection.execute("DELETE FROM checkpoints WHERE tree_size > 0")
        [consent] = [part for part in audited.verify()["partitions"] if part["partition"] == "consent/0"]
        connection.execute("DELETE FROM checkpoints WHERE tree_size > 0")
        said = audited.c360.run("audit", "verify").stdout
    assert (consent["signed"], consent["findings"]) == (0, 0)
    assert "the others could have been altered" in said


FLIPS = {
    "header": "header = set_byte(header, 3, get_byte(header, 3) # 1)",
    "envelope": "envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 128)",
    "event id": "event_id = set_byte(event_id, 0, get_byte(event_id, 0) # 1)",
    "type": "type_id = 'customer.grouped'",
    "occurred at": "occurred_at = occurred_at + 1",
}


@pytest.mark.parametrize("flip", FLIPS.values(), ids=FLIPS)
def test_one_byte_of_an_event(audited: Audited, flip: str) -> None:
    with audited.tampering() as connection:
        partition, _ = fullest(connection)
        changed = connection.execute(
            f"""UPDATE events SET {flip} WHERE partition = %s AND pos =
                (SELECT max(pos) FROM events WHERE partition = %s AND length(envelope) > 41 AND pos < 8) RETURNING pos""",
            [partition, partition],
        ).fetchone()
        assert changed is not None
        assert audited.findings() == [(f"profile/{partition}", "EVENT_ALTERED", changed["pos"], changed["pos"])]


def test_who_read_what_can_not_be_altered_either(audited: Audited) -> None:
    with audited.tampering("disclosures") as connection:
        connection.execute("UPDATE events SET header = set_byte(header, 20, get_byte(header, 20) # 1) WHERE pos = 0")
        assert audited.findings() == [("disclosures/0", "EVENT_ALTERED", 0, 0)]


def test_one_byte_of_a_leaf_or_of_recorded_time(audited: Audited) -> None:
    with audited.tampering() as connection:
        partition, _ = fullest(connection)
        connection.execute(
            "UPDATE events SET leaf = set_byte(leaf, 31, get_byte(leaf, 31) # 1) WHERE partition = %s AND pos = 2", [partition]
        )
        connection.execute("UPDATE events SET recorded_at = recorded_at + 1 WHERE partition = %s AND pos = 5", [partition])
        found = audited.findings()
    assert (f"profile/{partition}", "LEAF_ALTERED", 2, 2) in found
    assert (f"profile/{partition}", "EVENT_ALTERED", 5, 5) in found


def test_one_row_removed(audited: Audited) -> None:
    with audited.tampering() as connection:
        partition, size = fullest(connection)
        connection.execute("DELETE FROM events WHERE partition = %s AND pos IN (3, %s)", [partition, size - 1])
        found = audited.findings()
    assert (f"profile/{partition}", "EVENTS_MISSING", 3, 3) in found
    assert (f"profile/{partition}", "EVENTS_MISSING", size - 1, size - 1) in found
    assert {code for _, code, _, _ in found} <= {"EVENTS_MISSING", "VERSION_WRONG"}


def test_two_rows_swapped(audited: Audited) -> None:
    with audited.tampering() as connection:
        partition, _ = fullest(connection)
        for old, new in ((1, -1), (6, 1), (-1, 6)):
            connection.execute("UPDATE events SET pos = %s WHERE partition = %s AND pos = %s", [new, partition, old])
        assert (f"profile/{partition}", "EVENTS_SWAPPED", 1, 6) in audited.findings()


COPY_EVENT = """INSERT INTO events SELECT partition, {pos}, stream, {version}, event_id, type_id, schema_version, recorded_at,
                occurred_at, header, envelope, leaf FROM events WHERE partition = %s AND pos = 1"""


@pytest.mark.parametrize("position", [-7, -(2**63), 1, 10**15])
def test_a_row_where_none_can_be(audited: Audited, position: int) -> None:
    with audited.tampering() as connection:
        partition, _ = fullest(connection)
        connection.execute(COPY_EVENT.format(pos=position, version="version + 1000"), [partition])
        assert (f"profile/{partition}", "EVENT_MISPLACED", position, position) in audited.findings()


def test_a_version_that_no_event_has(audited: Audited) -> None:
    with audited.tampering() as connection:
        partition, _ = fullest(connection)
        connection.execute(COPY_EVENT.format(pos=-1, version=0), [partition])
        assert (f"profile/{partition}", "EVENT_MISPLACED", -1, -1) in audited.findings()


@pytest.mark.parametrize(
    "change", ["next_pos = next_pos - 1", "next_pos = next_pos + 1", "last_recorded_at = 7", "merkle_frontier = sha256('forged')"]
)
def test_a_rewritten_head(audited: Audited, change: str) -> None:
    with audited.tampering("identity") as connection:
        connection.execute(f"UPDATE partition_heads SET {change}")
        found = audited.findings()
    assert {(where, code) for where, code, _, _ in found} - {("identity/0", "SIGNING_REFUSED")} == {("identity/0", "HEAD_ALTERED")}


def test_a_rewritten_checkpoint(audited: Audited) -> None:
    with audited.tampering("identity") as connection:
        connection.execute("UPDATE checkpoints SET note = replace(note, 'identity/0', 'identity/1')")
        found = {(where, code) for where, code, _, _ in audited.findings()}
        assert found == {("identity/0", "CHECKPOINT_ALTERED"), ("identity/0", "SIGNING_REFUSED")}


def test_an_event_rewritten_with_its_leaf_and_the_head_contradicts_the_checkpoint_and_is_not_signed(audited: Audited) -> None:
    with audited.tampering("consent") as connection:
        audited.c360.run("audit", "checkpoints")
        connection.execute("UPDATE events SET event_id = sha256('else'::bytea), leaf = sha256('else'::bytea) WHERE pos = 1")
        connection.execute("UPDATE partition_heads SET merkle_frontier = decode(repeat('00', length(merkle_frontier)), 'hex')")
        found = audited.findings()
        assert {("consent/0", "HISTORY_REWRITTEN"), ("consent/0", "SIGNING_REFUSED")} <= {
            (where, code) for where, code, _, _ in found
        }
        refused = audited.c360.run("audit", "checkpoints", code=1)
        assert refused.stderr.startswith("LOG_DAMAGED: ")


def test_history_that_was_made_anew_without_its_checkpoints(audited: Audited) -> None:
    """All tables agree with each other: the absence of checkpoints, and the service that is asked to sign, tell."""
    audited.c360.run("audit", "checkpoints")
    with audited.tampering("consent") as connection:
        connection.execute("UPDATE events SET occurred_at = occurred_at - 86400000000 WHERE pos = 0")
        leaves = [
            leaf_of((record := to_record([*row.values()])).entry, record.version, record.recorded_at)
            for row in connection.execute(f"SELECT {COLUMNS} FROM events ORDER BY pos").fetchall()
        ]
        frontier, nodes = merkle.append(0, (), leaves)
        assert not nodes
        connection.execute("UPDATE events SET leaf = %s WHERE pos = 0", [leaves[0]])
        connection.execute("UPDATE partition_heads SET merkle_frontier = %s", [merkle.pack(frontier)])
        connection.execute("DELETE FROM checkpoints WHERE tree_size > 0")
        assert audited.findings() == [("consent/0", "SIGNING_REFUSED", None, None)]
        connection.execute("DELETE FROM checkpoints")
        assert [code for _, code, _, _ in audited.findings()] == ["CHECKPOINTS_MISSING", "SIGNING_REFUSED"]


def test_checkpoints_that_were_kept_find_what_was_cut_off_together_with_its_checkpoints(audited: Audited) -> None:
    kept = audited.folder / "kept"
    audited.c360.run("audit", "checkpoints", "-o", str(kept))
    assert audited.verify("--kept", str(kept))["findings"] == []
    with audited.tampering("ingest") as connection:
        connection.execute("DELETE FROM events")
        connection.execute("DELETE FROM checkpoints WHERE tree_size > 0")
        connection.execute("UPDATE partition_heads SET next_pos = 0, last_recorded_at = 0, merkle_frontier = ''")
        assert audited.findings() == [("ingest/0", "SIGNING_REFUSED", None, None)]  # as long as the service runs that signed them
        found = audited.verify("--kept", str(kept), code=1)["findings"]
    assert ("ingest/0", "LOG_TRUNCATED") in {(one["partition"], one["code"]) for one in found}


@pytest.mark.parametrize("schema", ["profile", "ingest"])
def test_a_partition_whose_head_is_gone(audited: Audited, schema: str) -> None:
    kept = audited.folder / f"kept of {schema}"
    audited.c360.run("audit", "checkpoints", "-o", str(kept))
    with audited.tampering(schema) as connection:
        connection.execute("DELETE FROM partition_heads WHERE partition = 0")
        found = audited.verify("--kept", str(kept), code=1)["findings"]
    assert (f"{schema}/0", "PARTITION_MISSING") in {(one["partition"], one["code"]) for one in found}
    [unmatched] = [one["partition"] for one in found if one["code"] == "KEPT_UNMATCHED"]
    assert unmatched.endswith(f"/{schema}/0")


@pytest.mark.parametrize("table", ["partition_heads", "events", "merkle_nodes", "checkpoints"])
def test_something_of_a_partition_that_the_log_does_not_have(audited: Audited, table: str) -> None:
    rows = {
        "partition_heads": "9",
        "events": "9, 0, ''::bytea, 1, '', '', 1, 0, 0, '', '', ''",
        "merkle_nodes": "9, 8, 0, ''",
        "checkpoints": "9, 0, '', 0",
    }
    with audited.tampering() as connection:
        connection.execute(f"INSERT INTO {table} VALUES ({rows[table]})")
        assert audited.findings() == [("profile/9", "PARTITION_UNEXPECTED", None, None)]


def test_an_event_in_a_partition_where_its_stream_does_not_belong(audited: Audited) -> None:
    with audited.tampering() as connection:
        partition, size = fullest(connection)
        changed = "stream = set_byte(stream, 15, get_byte(stream, 15) # 1)"
        connection.execute(f"UPDATE events SET {changed} WHERE partition = %s AND pos = %s", [partition, size - 1])
        assert (f"profile/{partition}", "EVENT_MISROUTED", size - 1, size - 1) in audited.findings()


def test_another_key_than_the_one_that_is_trusted(audited: Audited) -> None:
    found = audited.verify("--key", "A" * 43 + "=", code=1)["findings"]
    assert {finding["code"] for finding in found} == {"CHECKPOINT_ALTERED"}


def test_after_all_that_the_log_is_as_it_was(audited: Audited) -> None:
    assert audited.verify()["findings"] == []
