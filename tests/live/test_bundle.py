"""Evidence about one customer, from the running system into the hands of somebody who has nothing but the file."""

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cryptography
import grpc
import psycopg
import pytest
from c360.log.v1 import log_pb2 as pb
from c360.log.v1.log_pb2_grpc import LogServiceStub
from c360_verify.__main__ import main as verify_main
from c360_verify.check import Report, check
from c360_verify.refusal import Refused
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ids import to_text
from shared.log import merkle, notes
from tests.live.audited import Audited
from tests.live.consent_shop import refusal

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sealed(audited: Audited) -> bytes:
    return audited.bundle("sealed.json").read_bytes()


@pytest.fixture(scope="module")
def readable(audited: Audited) -> bytes:
    return audited.bundle("readable.json", "--keyring", audited.keyring, "--vault-url", audited.vault_url).read_bytes()


def test_everything_about_a_merged_customer_is_in_it(sealed: bytes, audited: Audited) -> None:
    report = check(sealed, base64.b64decode(audited.key))
    kinds = {(log, event.type) for (log, _), events in report.streams.items() for event in events}
    assert {
        ("identity", "customer.merged"),
        ("identity", "customer.linked"),
        ("profile", "customer.identified"),
        ("profile", "customer.tracked"),
        ("consent", "consent.decision_recorded"),
        ("consent", "consent.purpose_defined"),
        ("consent", "consent.notice_defined"),
        ("consent", "consent.controller_defined"),
    } <= kinds
    assert sum(1 for log, _ in report.streams if log == "profile") == 2


def test_without_keys_nothing_personal_is_in_it(sealed: bytes, readable: bytes) -> None:
    def personal(bundle: bytes) -> list[bytes]:
        return [event.personal for event in check(bundle).events() if event.personal is not None]

    assert personal(sealed) == []
    assert any(b"Turin" in part for part in personal(readable))
    assert len(personal(readable)) == sum(event.sealed for event in check(readable).events())
    assert b"ann@example.com" not in sealed + readable


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """c360-verify installed by itself; of all our packages it sees cryptography and what that needs."""
    folder = tmp_path_factory.mktemp("auditor")
    shutil.copytree(ROOT / "verify", folder / "source", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    install = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder / "tool"))
    subprocess.run((sys.executable, *install, str(folder / "source")), check=True, timeout=120)
    packages = Path(cryptography.__file__).parents[1]
    (folder / "needed").mkdir()
    for found in (*packages.glob("cryptography*"), *packages.glob("*cffi*"), *packages.glob("pycparser*")):
        (folder / "needed" / found.name).symlink_to(found)
    start = f"import sys, runpy; sys.path += {[str(folder / 'tool'), str(folder / 'needed')]!r}; runpy.run_module('c360_verify', run_name='__main__')"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-I", "-S", "-c", start, *arguments)
        return subprocess.run(command, env={}, cwd=folder, capture_output=True, text=True, timeout=60)

    return run


def test_the_tool_needs_nothing_of_ours(tool: Any, audited: Audited, sealed: bytes, readable: bytes) -> None:
    done = tool(str(audited.folder / "sealed.json"), "--key", audited.key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything holds" in done.stdout
    assert "readable   0 of " in done.stdout
    events = [json.loads(line) for line in tool(str(audited.folder / "readable.json"), "--events").stdout.splitlines()]
    assert [event["personal"]["traits"]["city"] for event in events if "Turin" in str(event["personal"])] == ["Turin"]


@pytest.mark.parametrize("key", ["garbage", "AAAA", base64.b64encode(bytes(31)).decode()])
def test_what_is_no_key_is_a_wrong_command_and_not_a_wrong_bundle(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        verify_main(["sealed.json", "--key", key])
    assert ended.value.code == 2
    assert "a public key is 32 bytes in base64" in capsys.readouterr().err


def test_who_reads_the_tool_may_stop_before_the_end(audited: Audited, sealed: bytes) -> None:
    read, write = os.pipe()
    os.close(read)
    command = (sys.executable, "-m", "c360_verify", str(audited.folder / "sealed.json"))
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_counts_streams_that_can_be_read_and_not_keys(audited: Audited) -> None:
    """Each of Ann's two customers has events sealed under its key in the log of identity and in profile's."""
    path = audited.folder / "counted.json"
    keys = ("--keyring", audited.keyring, "--vault-url", audited.vault_url)
    said = audited.c360.run("audit", "bundle", "email:ann@example.com", "-o", str(path), *keys).stdout
    content = json.loads(path.read_text())
    streams = [stream for partition in content["partitions"] for stream in partition["streams"]]
    sealed_streams = sum(any(event["envelope"] for event in stream["events"]) for stream in streams)
    assert sealed_streams > len(content["data_keys"])
    assert re.search(rf"readable streams +{sealed_streams}\s", said)


def test_the_tool_names_what_is_wrong_and_says_so_by_its_exit_code(
    tool: Any, tmp_path: Path, audited: Audited, sealed: bytes
) -> None:
    changed = tmp_path / "changed.json"
    content = json.loads(sealed)
    event = content["partitions"][-1]["streams"][0]["events"][0]
    event["recorded_us"] += 1
    changed.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    done = tool(str(changed))
    assert done.returncode == 1
    assert done.stdout.startswith("changed.json: REFUSED: profile/")
    assert f"position {event['position']}: its proof doesn't lead to the root" in done.stdout
    assert tool(str(tmp_path / "absent.json")).returncode == 2
    other_key = base64.b64encode(os.urandom(32)).decode()
    assert "signed with another key" in tool(str(audited.folder / "sealed.json"), "--key", other_key).stdout


@settings(max_examples=3 * settings().max_examples)
@given(st.data())
def test_a_bundle_with_any_one_byte_changed_is_refused(readable: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(readable) - 1))
    changed = readable[at] ^ data.draw(st.integers(1, 255))
    with pytest.raises(Refused):
        check(readable[:at] + bytes([changed]) + readable[at + 1 :])


@settings(deadline=None)
@given(st.data())
def test_a_bundle_with_a_piece_cut_out_is_refused(readable: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(readable) - 1))
    with pytest.raises(Refused):
        check(readable[:first] + readable[data.draw(st.integers(first + 1, len(readable))) :])


def written(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def streams(content: Any) -> list[Any]:
    return [stream for part in content["partitions"] for stream in part["streams"]]


def drop_a_stream(content: Any) -> None:
    for part in content["partitions"]:
        if "/consent/" in part["checkpoint"]:
            part["streams"] = [item for item in part["streams"] if not item["events"]] or part["streams"][1:]


def drop_the_newest_event(content: Any) -> None:
    next(stream for stream in streams(content) if len(stream["events"]) > 1)["events"].pop()


def drop_the_first_event(content: Any) -> None:
    del next(stream for stream in streams(content) if len(stream["events"]) > 1)["events"][0]


def drop_a_partition(content: Any) -> None:
    del content["partitions"][-1]


def repeat_a_partition(content: Any) -> None:
    content["partitions"].append(content["partitions"][-1])


def add_a_key(content: Any) -> None:
    content["data_keys"]["00000000-0000-4000-8000-000000000000"] = base64.b64encode(bytes(32)).decode()


def name_another_customer(content: Any) -> None:
    content["customer"] = "00000000-0000-4000-8000-000000000000"


def exchange_two_heads(content: Any) -> None:
    one, other = next(part["streams"] for part in content["partitions"] if len(part["streams"]) > 1)[:2]
    one["head"], other["head"] = other["head"], one["head"]


TRICKS = [
    drop_a_stream,
    drop_the_newest_event,
    drop_the_first_event,
    drop_a_partition,
    repeat_a_partition,
    add_a_key,
    name_another_customer,
    exchange_two_heads,
]


@pytest.mark.parametrize("trick", TRICKS)
def test_nothing_can_be_left_out_added_or_exchanged(sealed: bytes, trick: Callable[[Any], None]) -> None:
    content = json.loads(sealed)
    trick(content)
    assert written(json.loads(sealed)) == sealed
    with pytest.raises(Refused):
        check(written(content))


def test_an_erased_customer_can_be_proved_and_not_be_read(audited: Audited, readable: bytes) -> None:
    kept = check(readable)
    owners = [stream for log, stream in kept.streams if log == "profile"]
    with psycopg.connect(audited.stack.admin_url.rsplit("/", 1)[0] + "/c360_vault", autocommit=True) as vault:
        saved = vault.execute("SELECT wrapped, key_id, owner FROM vault.data_keys WHERE owner = ANY(%s)", [owners]).fetchall()
        vault.execute("UPDATE vault.data_keys SET wrapped = NULL, key_id = NULL, destroyed_at = 1 WHERE owner = ANY(%s)", [owners])
        try:
            path = audited.bundle("erased.json", "--keyring", audited.keyring, "--vault-url", audited.vault_url)
        finally:
            for row in saved:
                vault.execute("UPDATE vault.data_keys SET wrapped = %s, key_id = %s, destroyed_at = NULL WHERE owner = %s", row)
    erased = check(path.read_bytes())
    assert [event.personal for event in erased.events() if event.personal] == []
    assert count(erased) == count(kept)


def count(report: Report) -> int:
    return sum(1 for _ in report.events())


@pytest.mark.parametrize("log", ["identity", "profile"])
async def test_a_stream_is_not_signed_shorter_than_its_service_knows_it(audited: Audited, log: str) -> None:
    audited.c360.run("audit", "checkpoints")
    with audited.tampering(log) as connection:
        kept_in = "states" if log == "profile" else "customers"
        stream = f"(SELECT {'stream' if log == 'profile' else 'customer'} FROM {kept_in} ORDER BY version DESC LIMIT 1)"
        newest = f"DELETE FROM events WHERE (stream, version) = (SELECT stream, max(version) FROM events WHERE stream = {stream} GROUP BY 1)"
        [gone] = connection.execute(f"{newest} RETURNING partition, stream, version").fetchall()
        size = connection.execute("SELECT max(tree_size) FROM checkpoints WHERE partition = %s", [gone["partition"]]).fetchone()
        assert size is not None
        request = pb.GetStreamHeadRequest(stream_id=to_text(gone["stream"]), tree_size=size["max"])
        async with grpc.aio.insecure_channel(getattr(audited.stack.endpoints, log)) as channel:
            service: Any = LogServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError, match="newest events of a stream are gone"):
                await service.GetStreamHead(request)
            if log == "profile":
                lower = "UPDATE states SET version = version + %s WHERE stream = %s"
                connection.execute(lower, [-1, gone["stream"]])
                with pytest.raises(grpc.aio.AioRpcError, match="what is stored was altered"):
                    await service.GetStreamHead(request)
                connection.execute(lower, [1, gone["stream"]])


async def test_proofs_over_grpc_verify_against_signed_checkpoints(audited: Audited) -> None:
    async with grpc.aio.insecure_channel(audited.stack.endpoints.identity) as channel:
        log: Any = LogServiceStub(channel)
        [partition] = (listed := await log.ListPartitions(pb.ListPartitionsRequest())).partitions

        def opened(note: str) -> notes.Checkpoint:
            return notes.open_checkpoint(note, partition.origin, listed.public_key)

        now = opened((await log.GetCheckpoint(pb.GetCheckpointRequest())).note)
        stored = [
            opened(found.note)
            async for page in log.ReadCheckpoints(pb.ReadCheckpointsRequest(after_tree_size=-1))
            for found in page.checkpoints
        ]
        assert len(stored) > 1
        for old in stored:
            request = pb.GetConsistencyProofRequest(old_tree_size=old.size, new_tree_size=now.size)
            proof = (await log.GetConsistencyProof(request)).proof
            assert merkle.verify_consistency(old.size, now.size, old.root, now.root, list(proof.hashes))
        events = [event async for page in log.ReadEvents(pb.ReadEventsRequest()) for event in page.events]
        positions = [event.position for event in events]
        wanted = pb.GetInclusionProofsRequest(tree_size=now.size, positions=positions)
        proofs = (await log.GetInclusionProofs(wanted)).proofs
        for event, path in zip(events, proofs, strict=True):
            assert merkle.verify_inclusion(event.leaf, event.position, now.size, list(path.hashes), now.root)


@pytest.mark.parametrize(
    ("method", "request_", "reason"),
    [
        ("GetCheckpoint", pb.GetCheckpointRequest(partition=9), "PARTITION_UNKNOWN"),
        ("GetInclusionProofs", pb.GetInclusionProofsRequest(tree_size=10**9), "TREE_SIZE_INVALID"),
        ("GetInclusionProofs", pb.GetInclusionProofsRequest(tree_size=1, positions=[1]), "POSITION_INVALID"),
        ("GetInclusionProofs", pb.GetInclusionProofsRequest(tree_size=1, positions=[0] * 501), "POSITION_INVALID"),
        ("GetConsistencyProof", pb.GetConsistencyProofRequest(old_tree_size=2, new_tree_size=1), "TREE_SIZE_INVALID"),
        ("GetStreamHead", pb.GetStreamHeadRequest(stream_id="x"), "STREAM_ID_INVALID"),
        ("GetStreamHead", pb.GetStreamHeadRequest(stream_id="0" * 32, tree_size=10**9), "CHECKPOINT_UNKNOWN"),
    ],
)
async def test_what_cannot_be_proved_is_refused_with_a_reason(audited: Audited, method: str, request_: Any, reason: str) -> None:
    async with grpc.aio.insecure_channel(audited.stack.endpoints.identity) as channel:
        call = getattr(LogServiceStub(channel), method)
        assert (await refusal(asyncio.ensure_future(call(request_))))[1] == reason
