"""The graph that is read from the tables after erasures is the one of the model that the laws of erasure are proved with."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import asyncpg
import pytest

from services.identity import erasures, views
from services.identity.domain import Cluster, Graph, Sighting, Suppression, admit, decide
from services.stack.stack import Stack
from shared.events.erasure import Policy
from shared.identifiers import Identifier, hash_of
from shared.ids import NewId
from shared.store.pool import open_pool
from tests.emptying import empty_log
from tests.properties.erased_graph import erase

KEY = b"k" * 32
STRANGER = Identifier("email", "stranger@x.example")  # seen with it, every cluster is one that may change, and is loaded in full
POLICIES: dict[str, Policy] = {"refuse": "refuse", "start_clean": "start_clean"}
Script = list[tuple[str, ...]]  # identifiers seen together, or a policy and by which identifier is erased

ONE_OF_TWO: Script = [("user_id:u1", "email:a"), ("user_id:u2", "email:b"), ("refuse", "email:a"), ("email:a", "anonymous_id:d1")]
A_MERGED_CLUSTER: Script = [
    ("email:a", "anonymous_id:d1"),
    ("phone:1", "anonymous_id:d2"),
    ("email:a", "phone:1"),
    ("start_clean", "anonymous_id:d2"),
    ("email:a", "phone:1"),
]
PROPOSED_WITH_ANOTHER: Script = [
    ("user_id:u1", "email:a"),
    ("user_id:u2", "email:b"),
    ("user_id:u3", "email:c"),
    ("email:a", "email:b"),
    ("email:b", "email:c"),
    ("refuse", "user_id:u1"),
]
TWICE: Script = [("email:a",), ("start_clean", "email:a"), ("email:a", "phone:1"), ("refuse", "phone:1"), ("email:a", "email:b")]
SCRIPTS = {"one of two": ONE_OF_TWO, "merged": A_MERGED_CLUSTER, "proposed": PROPOSED_WITH_ANOTHER, "twice": TWICE}


@pytest.fixture
async def pool(servers: Stack) -> AsyncIterator[Any]:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "identity", "customers", "identifiers", "proposals", "suppressions")
    await admin.close()
    pool = await open_pool(servers.environment_of("identity")["C360_DATABASE_URL"], "identity")
    yield pool
    await pool.close()


def ids() -> NewId:
    numbers = count(1)
    return lambda: next(numbers).to_bytes(16)


def parsed(name: str) -> Identifier:
    return Identifier(*name.split(":", 1))


def sighting(names: tuple[str, ...], at: int) -> Sighting:
    return Sighting(at.to_bytes(16), [(hash_of(parsed(name), KEY), parsed(name)) for name in names], at)


class Tables:
    """The production queries, a transaction a step."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._new_id = ids()

    async def see(self, seen: Sighting) -> None:
        graph, versions = await views.load_graph(self._pool, [seen], await views.next_founding_number(self._pool))
        if isinstance(admitted := admit(graph, seen), Suppression):
            return
        _, conclusions = decide(graph, admitted, self._new_id)
        versions = dict.fromkeys(graph.clusters, 0) | versions
        async with self._pool.acquire() as connection, connection.transaction():
            await views.apply(connection, [(seen.event_id, x) for x in conclusions], graph, versions, (seen.occurred_at, 0))

    async def erase(self, value_hash: bytes, suppression: Suppression) -> None:
        resolved = await views.resolve(self._pool, value_hash)
        assert resolved is not None
        members = await views.members(self._pool, resolved.customer)
        hashes = [one for found in (await erasures.identifiers_of(self._pool, members)).values() for one in found]
        async with self._pool.acquire() as connection, connection.transaction():
            await erasures.erase(connection, members, hashes, suppression)

    async def graph(self, names: set[str]) -> Graph:
        everything = Sighting(b"", [(hash_of(one, KEY), one) for one in (*map(parsed, names), STRANGER)])
        return (await views.load_graph(self._pool, [everything], await views.next_founding_number(self._pool)))[0]


def see(graph: Graph, seen: Sighting, new_id: NewId) -> None:
    if not isinstance(admitted := admit(graph, seen), Suppression):
        decide(graph, admitted, new_id)


def shown(graph: Graph) -> tuple[dict[bytes, Cluster], dict[bytes, bytes], set[tuple[bytes, bytes]], dict[bytes, Suppression]]:
    """What can be reached by an identifier; the model also remembers customers that nothing leads to any more."""
    clusters = {value_hash: graph.cluster_of(value_hash) for value_hash in graph.links}
    return clusters, graph.links, graph.proposals, graph.suppressions


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_erasures_leave_the_tables_as_they_leave_the_model(pool: Any, script: Script) -> None:
    tables, model, model_ids = Tables(pool), Graph(), ids()
    names = {name for step in script for name in step if ":" in name}
    for at, step in enumerate(script):
        if step[0] in POLICIES:
            value_hash = hash_of(parsed(step[1]), KEY)
            suppression = Suppression(at.to_bytes(16), POLICIES[step[0]], at)
            await tables.erase(value_hash, suppression)
            erase(model, frozenset(model.cluster_of(value_hash).members), suppression)
        else:
            await tables.see(sighting(step, at))
            see(model, sighting(step, at), model_ids)
        assert shown(await tables.graph(names)) == shown(model)
    assert model.suppressions
    assert model.next_founding_number == await views.next_founding_number(pool)
