"""Identifiers that only she ever sent, and that a limit kept from her, are erased with her; what is somebody's own is named."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import asyncpg
import grpc
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.identity.v1 import decision_pb2
from c360.identity.v1 import identity_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st

from services.identity.tables.leftovers import leftovers
from services.stack.stack import Stack
from shared.events.wire import INGEST_STREAM
from shared.notes import verify_note
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform
from tests.live.erasing import Person, erase, identify, never_again, wait_completed
from tests.live.readable import places_that_open

TABLES = """
    CREATE TEMP TABLE customers (customer bytea, canonical bytea, founding_number int8);
    CREATE TEMP TABLE identifiers (value_hash bytea, customer bytea, resolving bool);
    CREATE TEMP TABLE sightings (nodes bytea[]);
    CREATE TEMP TABLE waiting_sightings (value_hashes bytea[]);
    CREATE TEMP TABLE events (partition int2, stream bytea, type_id text);
"""
CUSTOMERS = [bytes([number]) for number in range(5)]
NAMES = [bytes([100 + number]) for number in range(6)]
LIMIT = 5  # of addresses, by the rules that are shipped


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as made:
        yield made


class World(NamedTuple):
    """`owners` are customers by identifier; `merged` customers by what they are one with; `told` those that a decision is about.

    An event resolved by the identifiers that are `resolving`. `waits` is seen too, and isn't settled yet.
    """

    owners: dict[bytes, bytes | None]
    merged: dict[bytes, bytes]
    told: set[bytes]
    resolving: set[bytes]
    seen: list[set[bytes]]
    waits: list[set[bytes]]

    def cluster(self, customer: bytes) -> set[bytes]:
        return {other for other in CUSTOMERS if self.merged[other] == self.merged[customer]}

    def identifiers(self, customers: set[bytes]) -> set[bytes]:
        return {name for name, owner in self.owners.items() if owner in customers}

    def leftovers(self, erased: set[bytes]) -> set[bytes]:
        hers, found = self.identifiers(erased), set()
        for customer in set(CUSTOMERS) - erased:
            cluster = self.cluster(customer)
            names = self.identifiers(cluster)
            only_with_her = all(
                (sightings := [seen for seen in self.seen if name in seen])
                and all(seen & hers for seen in sightings)
                and all(seen & hers for seen in self.waits if name in seen)
                for name in names
            )
            if names and only_with_her and not cluster & self.told and not names & self.resolving:
                found.add(customer)
        return found

    async def save(self, connection: Any) -> None:
        await connection.execute("TRUNCATE customers, identifiers, sightings, waiting_sightings, events")
        rows = [(customer, self.merged[customer], number) for number, customer in enumerate(CUSTOMERS)]
        await connection.executemany("INSERT INTO customers VALUES ($1, $2, $3)", rows)
        identifiers = [(name, owner, name in self.resolving) for name, owner in self.owners.items()]
        await connection.executemany("INSERT INTO identifiers VALUES ($1, $2, $3)", identifiers)
        await connection.executemany("INSERT INTO sightings VALUES ($1)", [(list(seen),) for seen in self.seen])
        await connection.executemany("INSERT INTO waiting_sightings VALUES ($1)", [(list(seen),) for seen in self.waits])
        kinds = [(customer, kind) for customer in CUSTOMERS for kind in ("customer.founded", "customer.merge_proposed")]
        kinds += [(customer, "customer.merge_forbidden") for customer in self.told]
        await connection.executemany("INSERT INTO events VALUES (0, $1, $2)", kinds)


worlds = st.builds(
    World,
    st.fixed_dictionaries({name: st.sampled_from([*CUSTOMERS, None]) for name in NAMES}),
    st.fixed_dictionaries(
        {customer: st.sampled_from(CUSTOMERS[:3] if number < 2 else [customer]) for number, customer in enumerate(CUSTOMERS)}
    ),
    st.sets(st.sampled_from(CUSTOMERS), max_size=1),
    st.sets(st.sampled_from(NAMES), max_size=2),
    st.lists(st.sets(st.sampled_from(NAMES), min_size=2, max_size=3), max_size=6),
    st.lists(st.sets(st.sampled_from(NAMES), min_size=2, max_size=3), max_size=2),
)


def test_leftovers_are_whole_clusters_that_were_only_ever_seen_with_hers(stack: Stack) -> None:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360"))
        runner.run(connection.execute(TABLES))

        @given(worlds)
        @settings(max_examples=100, deadline=None)
        def law(world: World) -> None:
            erased = world.cluster(CUSTOMERS[0])
            runner.run(world.save(connection))
            found = runner.run(leftovers(connection, erased, world.identifiers(erased)))
            assert set(found) == world.leftovers(erased)
            assert len(found) == len(set(found))

        try:
            law()
        finally:
            runner.run(connection.close())


def address(mail: str) -> Identifier:
    return Identifier(namespace="email", value=mail)


def test_an_address_that_a_limit_kept_from_her_is_erased_with_her_and_what_is_somebodys_own_is_named(
    platform: Platform, stack: Stack
) -> None:
    key, person = platform.register_source(f"leftovers-{uuid.uuid4().hex[:8]}"), Person()
    her = Identifier(namespace="user_id", value=person.user)
    mails = [f"canary-{number}-{person.run}@example.com" for number in range(LIMIT + 4)]
    for mail in mails:
        position = platform.record(key, identify({"email": mail}, user_id=person.user)).position
    only_hers, also_hers, seen_alone, said_not_hers = mails[LIMIT:]
    position = platform.record(key, identify({"email": seen_alone}, anonymous_id=person.devices[0])).position
    before = {mail: platform.resolve("email", mail, position).customer_id for mail in mails}
    hers = platform.resolve("user_id", person.user).customer_id
    assert {before[mail] for mail in mails[:LIMIT]} == {hers}
    forbidden = decision_pb2.ForbidMergeRequest(
        request_id=str(uuid.uuid4()),
        customer=CustomerRef(identifier=her),
        other=CustomerRef(identifier=address(said_not_hers)),
        decided_by="crm-desk",
        reason="ticket 1",
    )
    platform.decisions.ForbidMerge(forbidden, timeout=DEADLINE_S)
    hold = pb.PlaceLegalHoldRequest(
        request_id=str(uuid.uuid4()), customer=CustomerRef(identifier=address(only_hers)), reason="litigation"
    )
    hold_id = platform.identity.PlaceLegalHold(hold, timeout=DEADLINE_S).hold.hold_id

    queued = erase(platform, person, named=her)
    assert (queued.stage, list(queued.hold_ids)) == (pb.ERASURE_STAGE_QUEUED, [hold_id])
    platform.identity.ReleaseLegalHold(pb.ReleaseLegalHoldRequest(request_id=hold_id, hold_id=hold_id), timeout=DEADLINE_S)
    erasure = wait_completed(platform, queued)

    leftovers = {before[only_hers], before[also_hers]}
    assert set(erasure.leftover_customer_ids) == leftovers
    assert set(erasure.erased_customer_ids) == {hers} | leftovers
    assert list(erasure.proposed_customer_ids) == [before[seen_alone]]
    certified = json.loads(verify_note(erasure.certificate, erasure.verifier_key).split("\n", 1)[1])
    assert certified["scope"]["identifiers"] == 1 + LIMIT + 2
    assert set(certified["scope"]["of_identifiers_only_seen_with_these"]) == leftovers
    assert before[seen_alone] not in erasure.certificate
    assert asyncio.run(places_that_open(stack, [person.user, only_hers, also_hers])) == []
    position = platform.record(key, identify({"email": only_hers}, anonymous_id=person.devices[1])).position
    for mail in (*mails[:LIMIT], only_hers, also_hers):
        with pytest.raises(grpc.RpcError) as unknown:
            platform.resolve("email", mail, position)
        assert reason_of(unknown.value) == "IDENTIFIER_UNKNOWN"
    assert set(asyncio.run(places_that_open(stack, [only_hers]))) == {
        f"stream {INGEST_STREAM}"
    }  # refused, and younger than the certificate
    [kept] = [exception for exception in certified["exceptions"] if exception["what"] == "ingest_epoch_keys"]
    assert "comes after this is refused, and stays for as long as its own hour's key" in kept["ground"]
    assert platform.resolve("email", seen_alone).customer_id == before[seen_alone]
    never_again(stack, erasure)
    with pytest.raises(grpc.RpcError) as nobodys:  # no fact is left that says whose it is
        platform.resolve("email", said_not_hers)
    assert reason_of(nobodys.value) == "IDENTIFIER_UNKNOWN"
    later = erase(platform, person, named=address(said_not_hers), request_id=str(uuid.uuid4()))
    assert list(later.erased_customer_ids) == [before[said_not_hers]], "what it founded is erased by it all the same"
    assert asyncio.run(places_that_open(stack, [said_not_hers])) == []
