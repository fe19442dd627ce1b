"""Other rules are checked in a process of its own: it finds the same, holds nobody up, and ends with whoever asked."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from services.identity.checks import CHECKS_AT_ONCE, PROGRAM
from services.identity.domain.rules_document import read, rules_of
from services.identity.graph import difference
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.simulating import Progress
from services.identity.tables import modelbook, sharing, views
from services.identity.tables.bounds import Bound
from services.stack.stack import Stack
from shared.errors import LimitExceeded, TooLarge, Unavailable
from tests.live.command import Command
from tests.live.test_identity import Store, store, traffic
from tests.live.test_identity_rules import OPEN, STRICT
from tests.waiting import eventually

__all__ = ["store"]  # the fixture
PEOPLE = 500


def checking(parent: int) -> list[int]:
    """Processes in which the children of this one check."""
    found = []
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in children.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes() if Path(f"/proc/{child}").exists() else b""
            found += [int(child)] if PROGRAM.encode() in command else []
    return found


@pytest_asyncio.fixture
async def admin(servers: Stack) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    yield connection
    await connection.close()


def rules(store: Store, document: str) -> Rules:
    return rules_of(read(document, store.vault.lookup_key), 0)


async def last(pages: AsyncGenerator[Progress, None]) -> Progress:
    return [page async for page in pages][-1]


@pytest.mark.parametrize("document", [OPEN, STRICT])
async def test_it_finds_what_a_check_in_this_process_finds(store: Store, document: str) -> None:
    parts = await store.parts()
    await parts.unifier.unify(traffic(Random(5), 150), 1, [])
    asked = rules(store, document)
    found = await last(parts.checks.rules(asked))
    assert found == await last(parts.simulation.rules(asked))
    assert found.found.merges + found.found.splits > 0
    assert found.identifiers == found.of > 0
    model = await last(parts.checks.model(modelbook.shipped().document, DEFAULT_RULES))
    assert (model.identifiers, model.found.merges) == (found.of, 0)
    assert not checking(os.getpid())


async def test_nothing_of_it_is_settled_where_others_are_answered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of `PEOPLE` hang together by a contested device, which is what settling takes long for."""
    parts = await store.parts()
    base = traffic(Random(5), 1)[0]
    events = [
        msgspec.structs.replace(base, message_id=f"{n}", user_id=f"u{n // 2}", anonymous_id=f"a{n // 2 + n % 2}", traits={}, kind="identify")
        for n in range(2 * PEOPLE)
    ]  # fmt: skip
    await parts.unifier.unify(events, 1, [])

    def settled_here(*_: Any) -> None:
        raise AssertionError("settled on the loop that answers")

    monkeypatch.setattr(difference, "settle", settled_here)
    answered, told = 0, 0
    async with aclosing(parts.checks.rules(rules(store, STRICT))) as pages:
        async for looked in pages:
            [child] = checking(os.getpid()) or [0]
            if child:
                os.kill(child, signal.SIGSTOP)
            assert await views.resolve(store.pool, store.hash_of("user_id", "u1")) is not None
            assert (await parts.unifier.graph.settle([], Bound(10**6, None)))[1].conclusions == []
            answered, told = answered + 1, looked.identifiers
            if child:
                os.kill(child, signal.SIGCONT)
    assert answered > 2
    assert told == await store.pool.fetchval("SELECT count(*) FROM identifiers")


async def test_it_ends_when_nobody_hears_it_any_more(store: Store, admin: Any) -> None:
    parts = await store.parts()
    await parts.unifier.unify(traffic(Random(5), 50), 1, [])
    pages = parts.checks.rules(rules(store, STRICT))
    async with admin.transaction():
        await admin.execute("LOCK TABLE identity.sightings IN ACCESS EXCLUSIVE MODE")  # it can't come to an end by itself
        assert (await anext(pages)).identifiers == 0
        [child] = checking(os.getpid())
        waiting = asyncio.create_task(anext(pages))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not Path(f"/proc/{child}").exists()
    assert (await last(parts.checks.rules(rules(store, STRICT)))).of > 0, "and the next one has its turn"


async def test_more_at_once_than_there_is_room_for_are_refused(store: Store) -> None:
    parts = await store.parts()
    under_way = [parts.checks.rules(rules(store, STRICT)) for _ in range(CHECKS_AT_ONCE)]
    for pages in under_way:
        await anext(pages)
    with pytest.raises(LimitExceeded) as told:
        await last(parts.checks.model(modelbook.shipped().document, DEFAULT_RULES))
    assert told.value.reason == "CHECK_BUSY"
    for pages in under_way:
        await pages.aclose()
    assert not checking(os.getpid())


async def test_one_that_is_killed_is_told_as_such(store: Store, admin: Any) -> None:
    parts = await store.parts()
    await parts.unifier.unify(traffic(Random(5), 50), 1, [])
    pages = parts.checks.rules(rules(store, STRICT))
    async with admin.transaction():
        await admin.execute("LOCK TABLE identity.sightings IN ACCESS EXCLUSIVE MODE")
        await anext(pages)
        [child] = checking(os.getpid())
        os.kill(child, signal.SIGKILL)
        with pytest.raises(Unavailable, match="try again") as told:
            await anext(pages)
    assert told.value.reason == "CHECK_ENDED"


async def test_what_it_refuses_is_refused_in_the_same_words(store: Store) -> None:
    parts = await store.parts()
    await parts.unifier.unify(traffic(Random(5), 100), 1, [])
    tablet = store.hash_of("anonymous_id", "family-tablet")
    await store.pool.execute(
        """INSERT INTO sightings SELECT sha256(n::text::bytea), ARRAY[$1::bytea, sha256(n::text::bytea)], n, ''::bytea, 'web', n
           FROM generate_series(1, $2) AS n""",
        tablet,
        sharing.MAX_SIGHTINGS,
    )
    refusals = []
    for check in (parts.checks, parts.simulation):
        with pytest.raises(TooLarge, match="anonymous_id would link again") as told:
            await last(check.rules(rules(store, OPEN)))
        refusals.append((told.value.message, told.value.reason, told.value.facts))
    assert refusals[0] == refusals[1]


def test_ctrl_c_of_the_command_ends_it(stack: Stack, tmp_path: Path) -> None:
    c360, file = Command(stack.data_directory), tmp_path / "rules.json"
    identity = stack.pid("identity")
    assert identity is not None
    file.write_text(json.dumps({"namespaces": [{"name": "*"}]}))

    async def interrupted() -> None:
        admin = await asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360")
        async with admin.transaction():
            await admin.execute("LOCK TABLE identity.identifiers IN ACCESS EXCLUSIVE MODE")
            with c360.start("identity", "rules", "check", str(file)) as asking:
                eventually(lambda: len(checking(identity)) == 1)
                asking.send_signal(signal.SIGINT)
                eventually(lambda: not checking(identity))
        await admin.close()

    asyncio.run(interrupted())
