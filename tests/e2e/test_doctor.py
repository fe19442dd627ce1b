"""`c360 doctor` names what is broken, each for real, and says so of a stack that isn't."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import nats
import psycopg
import pytest

from services.stack.stack import Stack
from shared.events.wire import INGEST_STREAM
from shared.vault import FileKeyring
from tests.live.command import Command
from tests.stacks import fresh_stack
from tests.waiting import eventually

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def broken() -> Iterator[tuple[Stack, Command]]:
    with fresh_stack() as stack:
        yield stack, Command(stack.data_directory)


def findings(command: Command, *more: str, timeout_s: float = 20) -> list[dict[str, Any]]:
    asked = (sys.executable, "-m", "services.cli", "doctor", "--json", "--timeout", str(timeout_s), *more)
    done = subprocess.run(asked, env=command.environment, capture_output=True, text=True, timeout=120)
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0 if told["healthy"] else 1, "")
    assert told["healthy"] == all(one["severity"] != "wrong" for one in told["findings"])
    return list(told["findings"])


def said(found: list[dict[str, Any]], subject: str, severity: str = "wrong") -> str:
    return " | ".join(f"{one['what']}: {one['to_do']}" for one in found if (one["subject"], one["severity"]) == (subject, severity))


@contextmanager
def paused(stack: Stack, name: str) -> Iterator[None]:
    pid = stack.pid(name)
    assert pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def published(stack: Stack, amount: int) -> None:
    async def publish() -> None:
        client = await nats.connect(stack.broker_url)
        for number in range(amount):
            await client.jetstream().publish(INGEST_STREAM, f"no batch {number}".encode())
        await client.close()

    asyncio.run(publish())


def without_stream(stack: Stack, name: str) -> None:
    async def delete() -> None:
        client = await nats.connect(stack.broker_url)
        await client.jetstream().delete_stream(name)
        await client.close()

    asyncio.run(delete())


def test_a_healthy_stack_is_called_so(broken: tuple[Stack, Command]) -> None:
    _, command = broken
    eventually(lambda: {one["severity"] for one in findings(command)} <= {"unseen"}, PATIENCE_S)
    done = command.run("doctor")
    assert "nothing is wrong" in done.stdout
    assert "WRONG" not in done.stdout
    assert {one["severity"] for one in findings(command)} <= {"unseen"}


def test_a_service_that_hangs_is_named(broken: tuple[Stack, Command]) -> None:
    stack, command = broken
    with paused(stack, "consent"):
        found = findings(command, timeout_s=1)
        eventually(lambda: "no process has owned its log" in said(findings(command, timeout_s=1), "consent"), PATIENCE_S)
    assert "doesn't answer" in said(found, "consent")
    assert said(found, "profile") == ""
    eventually(lambda: said(findings(command), "consent") == "", PATIENCE_S)


def test_a_stream_that_is_gone_is_named(broken: tuple[Stack, Command]) -> None:
    stack, command = broken
    with paused(stack, "consent"):  # its owner would make it anew
        without_stream(stack, "CONSENT")
        found = findings(command, timeout_s=1)
    assert "CONSENT is missing" in said(found, "nats")
    stack.wait_ready()


def test_a_server_that_hangs_is_named(broken: tuple[Stack, Command]) -> None:
    stack, command = broken
    with paused(stack, "nats"):
        found = findings(command, timeout_s=1)
    assert "monitoring" in said(found, "nats")


def test_settings_that_lose_what_was_acknowledged_are_named(broken: tuple[Stack, Command]) -> None:
    stack, command = broken
    with psycopg.connect(stack.admin_url, autocommit=True) as admin:
        admin.execute("ALTER ROLE c360_identity SET synchronous_commit = off")
        try:
            assert "synchronous_commit is off for c360_identity" in said(findings(command), "postgres")
        finally:
            admin.execute("ALTER ROLE c360_identity RESET synchronous_commit")


def test_a_keyring_that_is_not_the_vaults_is_named(broken: tuple[Stack, Command], tmp_path: Path) -> None:
    _, command = broken
    other, half = tmp_path / "other.json", tmp_path / "half.json"
    FileKeyring.create(other)
    half.write_bytes(other.read_bytes()[:40])
    for keyring, told in ((half, "can't be read"), (other, "doesn't open"), (tmp_path / "none.json", "can't be read")):
        command.environment["C360_KEYRING_FILE"] = str(keyring)
        try:
            assert told in said(findings(command), "keyring")
        finally:
            del command.environment["C360_KEYRING_FILE"]


def test_a_backup_that_is_not_there_is_named(broken: tuple[Stack, Command], tmp_path: Path) -> None:
    _, command = broken
    assert "there is none" in said(findings(command, "--backup", str(tmp_path)), "backup")


def test_a_token_that_has_expired_is_named(broken: tuple[Stack, Command]) -> None:
    _, command = broken
    command.environment["C360_TOKEN"] = jwt.encode({"exp": 1}, "k" * 32, "HS256")
    try:
        assert "has expired" in said(findings(command), "token")
    finally:
        del command.environment["C360_TOKEN"]


def test_what_is_parked_and_who_has_halted_is_named(broken: tuple[Stack, Command]) -> None:
    """The last one: it leaves the stack halted."""
    stack, command = broken
    published(stack, 1)
    eventually(lambda: "parked: NOT_A_BATCH" in said(findings(command), "identity"), PATIENCE_S)
    published(stack, 20)
    eventually(lambda: "has stopped to follow ingest" in said(findings(command), "identity"), PATIENCE_S)
    assert "doesn't serve" in said(findings(command), "identity")
