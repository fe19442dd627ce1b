"""The embedded servers keep what they have confirmed, whatever is killed, and leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nats
import psycopg
import pytest

from services.stack.errors import DataDirectoryInUseError
from services.stack.leftovers import PidFile
from services.stack.ports import DEFAULT_PORTS, HOST, choose_ports, remember_ports, remembered_ports
from services.stack.postgres import remove_stale_lock
from services.stack.stack import Stack

START_TIMEOUT_S = 60.0
HOLD_SERVERS = """
import sys, time
from services.stack.stack import Stack
with Stack(sys.argv[1], services=()):
    time.sleep(120)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="c360-test-") as made:
        yield Path(made)


def test_postgres_keeps_committed_rows_when_it_is_killed(servers: Stack) -> None:
    with psycopg.connect(servers.admin_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    servers.kill("postgres")
    servers.wait_ready("postgres")
    with psycopg.connect(servers.admin_url, autocommit=True) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]
        connection.execute("DROP TABLE kept")


async def test_nats_keeps_acknowledged_messages_when_it_is_killed(servers: Stack) -> None:
    connection = await nats.connect(servers.broker_url)
    await connection.jetstream().add_stream(name="KEPT", subjects=["kept"])
    await connection.jetstream().publish("kept", b"1")
    await connection.close()
    servers.kill("nats")
    servers.wait_ready("nats")
    connection = await nats.connect(servers.broker_url)
    kept = await connection.jetstream().stream_info("KEPT")
    await connection.jetstream().delete_stream("KEPT")
    await connection.close()
    assert kept.state.messages == 1


def test_the_databases_take_no_connection_without_the_password(servers: Stack) -> None:
    host, port = servers.endpoints.postgres.split(":")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host=host, port=port, user="postgres", password="wrong", dbname="postgres")


def test_secrets_are_readable_by_their_owner_only(servers: Stack) -> None:
    secrets = servers.data_directory / "secrets"
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}


def test_a_second_stack_on_the_same_directory_is_refused(servers: Stack) -> None:
    with pytest.raises(DataDirectoryInUseError, match=f"process {os.getpid()}"):
        Stack(servers.data_directory, services=()).start()


def test_after_a_kill_of_the_supervisor_nothing_runs_on_and_the_next_start_continues(directory: Path) -> None:
    supervisor = subprocess.Popen([sys.executable, "-c", HOLD_SERVERS, str(directory)])
    left = _wait_for_pid_files(directory)
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    with Stack(directory, services=()) as again:
        assert not any(file.is_alive() for file in left)
        assert again.is_ready("postgres")


def _wait_for_pid_files(directory: Path) -> list[PidFile]:
    """Copies, because the next start removes the ones of the directory."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (directory / "endpoints.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    copies = []
    for name in ("postgres", "nats"):
        copy = directory / f"{name}.copy"
        copy.write_text((directory / "run" / f"{name}.pid").read_text())
        copies.append(PidFile(copy))
    assert all(copy.is_alive() for copy in copies)
    return copies


def test_a_taken_default_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as holder, suppress(OSError):  # somebody else may hold it, which does as well
        holder.bind((HOST, DEFAULT_PORTS["nats"]))
        holder.listen()
        ports = choose_ports(prefer_defaults=True)
        assert ports["nats"] != DEFAULT_PORTS["nats"]
        assert len(set(ports.values())) == len(ports)


def test_ports_of_an_earlier_start_are_used_again_while_they_are_free(directory: Path) -> None:
    first = choose_ports(prefer_defaults=False)
    remember_ports(directory / "ports.json", first)
    earlier = remembered_ports(directory / "ports.json")
    assert choose_ports(prefer_defaults=True, earlier=earlier) == first
    with socket.socket() as holder:
        holder.bind((HOST, first["nats"]))
        holder.listen()
        changed = choose_ports(prefer_defaults=False, earlier=earlier)
    assert {name for name in first if first[name] != changed[name]} == {"nats"}


@pytest.mark.parametrize("broken", ["", "{", '{"nats": "x"}', "[]", '{"nats": 0}', '{"nats": 70000}'])
def test_broken_port_notes_are_written_anew(directory: Path, broken: str) -> None:
    (directory / "ports.json").write_text(broken)
    ports = choose_ports(prefer_defaults=False, earlier=remembered_ports(directory / "ports.json"))
    assert all(0 < port < 65536 for port in ports.values())


def test_a_lock_file_that_names_another_program_does_not_keep_postgres_from_starting(directory: Path) -> None:
    lock = directory / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{directory}\n")
    remove_stale_lock(directory)
    assert not lock.exists()
