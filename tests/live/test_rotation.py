"""The key-encryption key is rotated while the system runs."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from services import rotate
from services.migrate import admit, of_database
from services.stack.settings import whole_environment
from services.stack.stack import Stack
from shared.ids import id_maker
from shared.instants import now_us
from shared.store.pool import open_pool
from shared.vault import FileKeyring, KeyNotHeld, Vault
from tests.e2e.client import Platform, by_identifier
from tests.live.erasing import identify

new_id = id_maker(now_us)
SECONDS = 20.0


@pytest.fixture(scope="module")
def servers() -> Iterator[Stack]:
    """Of our own: what is wrapped under our keyrings opens under no other."""
    with tempfile.TemporaryDirectory(prefix="c360-test-") as directory, Stack(directory, services=()) as stack:
        yield stack


@pytest.fixture
async def pool(servers: Stack) -> AsyncIterator[Any]:
    pool = await open_pool(servers.environment_of("identity")["C360_VAULT_URL"], "vault")
    yield pool
    await pool.close()


@pytest.fixture
def path(admin: psycopg.Connection, tmp_path: Path) -> Path:
    """A new keyring, and nothing wrapped."""
    admin.execute("TRUNCATE vault.data_keys, vault.key_encryption_keys")
    admit(admin, "1")
    FileKeyring.create(tmp_path / "keyring.json")
    return tmp_path / "keyring.json"


@pytest.fixture
def admin(servers: Stack) -> Iterator[psycopg.Connection]:
    with psycopg.connect(of_database(servers.admin_url, "c360_vault"), autocommit=True) as connection:
        yield connection


def under(admin: psycopg.Connection) -> dict[str, int]:
    rows = admin.execute("SELECT key_id, count(*) FROM vault.data_keys WHERE wrapped IS NOT NULL GROUP BY key_id").fetchall()
    return dict(rows)


async def test_a_running_process_notices_the_new_key_and_wraps_under_it(pool: Any, path: Path, admin: psycopg.Connection) -> None:
    running, before = Vault(pool, FileKeyring(path)), new_id()
    sealed = (await running.create_keys([before], 1))[before].seal(b"Ann", b"")
    assert rotate.rotate(admin, FileKeyring(path), lambda done, of: None) == ("2", 1)
    fresh = await running.keys_as_stored([before])
    assert fresh[before].open(sealed, b"") == b"Ann"
    await running.create_keys([new_id()], 2)
    assert under(admin) == {"2": 2}


async def test_a_rotation_that_was_interrupted_goes_on_and_adds_no_other_key(
    pool: Any, path: Path, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = [new_id() for _ in range(25)]
    await Vault(pool, FileKeyring(path)).create_keys(owners, 1)
    monkeypatch.setattr(rotate, "BATCH_KEYS", 10)

    def interrupt(done: int, of: int) -> None:
        assert of == len(owners)
        if done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate.rotate(admin, FileKeyring(path), interrupt)
    assert under(admin) == {"1": 15, "2": 10}
    with pytest.raises(rotate.StillWrapped):
        rotate.retire(admin, FileKeyring(path), after_s=0)
    assert rotate.rotate(admin, FileKeyring(path), lambda done, of: None) == ("2", 15)
    assert len(await Vault(pool, FileKeyring(path)).keys(owners)) == len(owners)


async def test_a_retired_key_opens_no_backup(pool: Any, path: Path, admin: psycopg.Connection) -> None:
    owner = new_id()
    await Vault(pool, FileKeyring(path)).create_keys([owner], 1)
    backup = admin.execute("SELECT wrapped, key_id FROM vault.data_keys WHERE owner = %s", [owner]).fetchone()
    assert backup is not None
    with pytest.raises(rotate.TooSoon):
        rotate.retire(admin, FileKeyring(path))
    rotate.rotate(admin, FileKeyring(path), lambda done, of: None)
    assert rotate.retire(admin, FileKeyring(path), after_s=0) == ["1"]
    with pytest.raises(KeyNotHeld):
        FileKeyring(path).unwrap(backup[0], owner, backup[1])
    assert await Vault(pool, FileKeyring(path)).key(owner) is not None


async def test_a_process_that_was_paused_since_before_a_key_was_retired_wraps_under_the_new_one(
    pool: Any, path: Path, admin: psycopg.Connection
) -> None:
    """The pause is between wrapping and storing."""
    owner, keyring = new_id(), FileKeyring(path)
    under_the_old_one = keyring.wrap(bytes(32), owner)

    class Paused:
        async def fetch(self, query: str, *arguments: Any) -> Any:
            if keyring.key_ids == ["1"]:
                rotate.rotate(admin, FileKeyring(path), lambda done, of: None)
                rotate.retire(admin, FileKeyring(path), after_s=0)
            return await pool.fetch(query, *arguments)

    sealed = (await Vault(Paused(), keyring).create_keys([owner], 1))[owner].seal(b"Ann", b"")
    assert (await Vault(pool, FileKeyring(path)).keys([owner]))[owner].open(sealed, b"") == b"Ann"
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await pool.execute("INSERT INTO data_keys VALUES ($1, $3, $2, 1)", new_id(), *under_the_old_one)


def test_rotations_take_turns(servers: Stack, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotate, "TURN_S", 1)
    settings = rotate.RotateSettings(admin_url=servers.admin_url, keyring_file=str(path))
    with rotate.connect(settings), pytest.raises(psycopg.OperationalError):
        rotate.connect(settings)
    rotate.connect(settings).close()


async def test_a_key_destroyed_while_it_is_rewrapped_stays_destroyed(
    pool: Any, path: Path, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The destruction comes between reading the old wrapping and writing the new one."""
    owner, vault, keyring = new_id(), Vault(pool, FileKeyring(path)), FileKeyring(path)
    await vault.create_keys([owner], 1)
    wrap = keyring.wrap

    def wrap_too_late(key: bytes, of: bytes) -> tuple[str, bytes]:
        admin.execute("UPDATE vault.data_keys SET wrapped = NULL, key_id = NULL, destroyed_at = 2 WHERE owner = %s", [of])
        return wrap(key, of)

    monkeypatch.setattr(keyring, "wrap", wrap_too_late)
    rotate.rotate(admin, keyring, lambda done, of: None)
    assert await vault.keys_as_stored([owner]) == {}


def test_keys_are_rotated_while_events_flow_also_when_the_rotation_is_killed(own_stack: Stack) -> None:
    environment = whole_environment(own_stack.environment_of("migrate"))
    command = [sys.executable, "-m", "services.rotate"]
    with Platform(own_stack.endpoints) as platform:
        key = platform.register_source("rotating")
        people = [f"person-{uuid.uuid4().hex}" for _ in range(300)]
        for number, person in enumerate(people):
            platform.record(key, identify({"city": "Kiel"}, user_id=person))
            if number == 200:
                killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        kill_in_the_middle(own_stack, killed)
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        assert "under key 2" in done
        position = platform.record(key, identify({"city": "Bonn"}, user_id=people[0])).position
        for person in people:
            assert platform.get_profile(by_identifier("user_id", person), "audit", position).traits
    with psycopg.connect(of_database(own_stack.admin_url, "c360_vault")) as admin:
        assert set(under(admin)) == {"2"}


def kill_in_the_middle(stack: Stack, rotation: subprocess.Popen[bytes]) -> None:
    """As soon as the new key is there; it may have done nothing yet, something, or all."""
    keyring = Path(stack.environment_of("identity")["C360_KEYRING_FILE"])
    give_up_at = time.monotonic() + SECONDS
    while FileKeyring(keyring).current_id == "1":
        assert time.monotonic() < give_up_at, "no rotation has begun"
    os.kill(rotation.pid, signal.SIGKILL)
    rotation.wait()
