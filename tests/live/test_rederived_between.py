"""Whatever is recorded while it is read, in however many partitions: each read follows again from what it was made from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import disclosure_pb2 as disclosures
from c360.profile.v1 import export_pb2, history_pb2, rules_pb2, segment_pb2, watch_pb2
from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.export_pb2_grpc import ExportServiceStub
from c360.profile.v1.history_pb2_grpc import HistoryServiceStub
from c360.profile.v1.rules_pb2_grpc import ProfileRulesServiceStub
from c360.profile.v1.segment_pb2_grpc import SegmentServiceStub

from services.profile.domain.decided import KnownDecision
from services.stack.stack import Stack
from shared.events.catalogue import Entry, encode
from shared.events.consent import Outcome, PurposeDefined
from shared.identifiers import hash_of, normalise
from shared.ids import partition_of, to_text
from shared.instants import now_us, to_timestamp
from tests.live.inside import Inside, cut_off, founded, identified, linked, merged, new_id
from tests.live.test_profile_rules import activated, command

SEEDS = range(4)
CUSTOMERS = 4
ROUNDS = 60
READERS = 3
PURPOSES = ("news", "letters")
RULES = """{"segments": {"somewhere": {"when": "traits.city != 'Hull'"}}}"""
OTHER_RULES = """{"traits": {"city": {"rule": "first"}}, "segments": {"somewhere": {"when": "traits.city == 'Kiel'"}}}"""
OUTCOMES: tuple[Outcome, ...] = ("granted", "granted", "granted", "withdrawn", "objected")


@pytest_asyncio.fixture(loop_scope="session")
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    inside = await Inside.open(servers)
    yield inside
    await inside.close()


class Life:
    """Of some customers in several partitions, whom merges join and splits part, while they decide and are read."""

    def __init__(self, inside: Inside, random: Random) -> None:
        self.inside = inside
        self.random = random
        self.customers = [new_id() for _ in range(CUSTOMERS)]
        while len({partition_of(one, 4) for one in self.customers}) < 3:
            self.customers = [new_id() for _ in range(CUSTOMERS)]
        self.joined = dict[tuple[bytes, bytes], int]()
        self.merges = 0
        self.version = 0
        self.decided = 0

    def address(self, number: int) -> str:
        return f"{number}@example.com"

    def hash(self, number: int) -> bytes:
        return hash_of(normalise("email", self.address(number)), self.inside.vault.lookup_key)

    async def begin(self) -> None:
        self.keys = await self.inside.keys(self.customers)
        self.inside.confirm_consent()
        await self.define()
        for number, one in enumerate(self.customers):
            await self.inside.record([founded(one, number), self.link(number), identified(one, self.keys[one], 1, city="Kiel")])

    def link(self, number: int) -> Entry:
        one = self.customers[number]
        entry = linked(one, self.keys[one], self.address(number))
        return replaced(entry, self.hash(number))

    async def define(self) -> None:
        self.version += 1
        traits = ("*",) if self.version % 2 else ("city", "email")
        common: dict[str, Any] = {
            "request_id": "1",
            "version": self.version,
            "description": "",
            "legal_basis": "consent",
            "traits": traits,
        }
        await self.tell(PurposeDefined(name="news", **common))
        await self.tell(PurposeDefined(name="letters", scope="contact_point", contact_points=("email",), **common))

    async def tell(self, event: PurposeDefined | KnownDecision) -> None:
        self.decided += 1
        await self.inside.parts.consent._apply([event], self.decided)

    async def decide(self) -> None:
        recorded_at = now_us()
        await self.pause()  # it is recorded before it is heard of
        await self.tell(
            KnownDecision(
                request_id=to_text(new_id()),
                decision_id=new_id(),
                identifier_hash=self.hash(self.random.randrange(CUSTOMERS)),
                namespace="email",
                purpose=self.random.choice(PURPOSES),
                purpose_version=1,
                outcome=self.random.choice(OUTCOMES),
                decided_at=recorded_at,
                recorded_at=recorded_at,
                confirmed=self.random.random() < 0.5,
            )
        )

    def unit(self) -> list[Entry]:
        random = self.random
        one, other = random.sample(self.customers, 2)
        pair = (min(one, other), max(one, other))
        if random.random() < 0.3:
            if pair in self.joined:
                return cut_off(*pair, self.joined.pop(pair))
            self.merges += 1
            self.joined[pair] = self.merges
            return merged(*pair, self.customers.index(pair[1]), number=self.merges, likely=random.random() < 0.4)
        number = self.customers.index(one)
        said = {"email": self.address(number)} if random.random() < 0.3 else {"city": str(random.random())}
        return [
            identified(whom, self.keys[whom], random.randrange(1, 50), **said)
            for whom in random.sample(self.customers, random.randrange(1, CUSTOMERS + 1))
        ]

    async def write(self) -> None:
        await self.pause()
        await self.inside.record(self.unit())
        if self.random.random() < 0.2:
            self.inside.parts.held.clear()

    async def pause(self) -> None:
        await asyncio.sleep(self.random.choice((0, 0.001, 0.003)))

    async def change(self) -> None:
        await self.write()
        if self.random.random() < 0.5:
            await self.decide()
        if self.random.random() < 0.05:
            await self.define()

    async def read(self) -> None:
        await self.pause()
        whose = [CustomerRef(customer_id=to_text(one)) for one in self.random.sample(self.customers, 2)]
        purpose, mask = self.random.choice(PURPOSES), self.random.choice(([], ["traits.city"]))
        try:
            if self.random.random() < 0.3:
                queries = [pb.ProfileQuery(customer=one) for one in whose]
                await self.inside.calls.BatchGetProfiles(pb.BatchGetProfilesRequest(queries=queries, purpose=purpose))
            else:
                single = pb.GetProfileRequest(customer=whose[0], purpose=purpose)
                single.read_mask.paths.extend(mask)
                await self.inside.calls.GetProfile(single)
        except grpc.RpcError:
            pass

    async def look_up(self) -> None:
        """Any other call that is about one customer, or about many of whom each is shown by itself."""
        await self.pause()
        whose = [CustomerRef(customer_id=to_text(one)) for one in self.random.sample(self.customers, CUSTOMERS)]
        one: dict[str, Any] = {"customer": whose[0], "purpose": self.random.choice(PURPOSES)}
        calls, channel = self.inside.calls, self.inside.channel
        watched = watch_pb2.WatchProfilesRequest(purpose=one["purpose"], customers=whose)
        ways: list[Callable[[], Awaitable[Any]]] = [
            lambda: calls.LookupCustomer(pb.LookupCustomerRequest(**one)),
            lambda: calls.ListIdentifiers(pb.ListIdentifiersRequest(**one)),
            lambda: calls.ListMembers(pb.ListMembersRequest(**one)),
            lambda: calls.GetTimeline(pb.GetTimelineRequest(**one)),
            lambda: HistoryServiceStub(channel).ListProfileChanges(history_pb2.ListProfileChangesRequest(**one)),
            lambda: all_of(ExportServiceStub(channel).ExportChanges(export_pb2.ExportChangesRequest(purpose=one["purpose"]))),
            lambda: first_of(self.inside.watches.WatchProfiles(watched)),
        ]
        with suppress(grpc.RpcError):
            await self.random.choice(ways)()

    async def try_out(self) -> None:
        """What looks at everybody: who was in a segment, and what other rules would change."""
        await self.pause()
        purpose, channel = self.random.choice(PURPOSES), self.inside.channel
        past = segment_pb2.ListSegmentMembersRequest(segment="somewhere", purpose=purpose)
        (past.known_at if self.random.random() < 0.5 else past.valid_at).CopyFrom(to_timestamp(now_us()))
        tried = rules_pb2.SimulateRulesRequest(document=OTHER_RULES, purpose=purpose, examples=CUSTOMERS)
        ways: list[Callable[[], Awaitable[Any]]] = [
            lambda: SegmentServiceStub(channel).ListSegmentMembers(past),
            lambda: all_of(ProfileRulesServiceStub(channel).SimulateRules(tried)),
        ]
        with suppress(grpc.RpcError):
            await self.random.choice(ways)()


async def all_of(responses: Any) -> None:
    async for _ in responses:
        pass


async def first_of(responses: Any) -> None:
    """Until everybody was told."""
    async for one in responses:
        if one.positions:
            break
    responses.cancel()


def replaced(entry: Entry, value_hash: bytes) -> Entry:
    return msgspec.structs.replace(entry, header=encode(msgspec.structs.replace(entry.public(), value_hash=value_hash)))


async def all_reads(inside: Inside) -> list[disclosures.Disclosure]:
    found, token = list[disclosures.Disclosure](), ""
    while True:
        page = await inside.disclosed.WhoRead(disclosures.WhoReadRequest(page_size=500, page_token=token))
        found += page.disclosures
        if not (token := page.next_page_token):
            return found


@pytest.mark.parametrize("seed", SEEDS)
async def test_each_read_follows_again(inside: Inside, seed: int) -> None:
    life = Life(inside, Random(seed))
    await life.begin()
    for _ in range(ROUNDS):  # so that no more changes in a read than it is made anew for
        await asyncio.gather(life.change(), *(life.read() for _ in range(READERS)))
    reads = await all_reads(inside)
    verdicts = [one.verdict for one in reads]
    assert {disclosures.VERDICT_PERMIT, disclosures.VERDICT_DENY} <= set(verdicts)
    await agree_again(inside, reads)


@pytest.mark.parametrize("seed", SEEDS)
async def test_so_does_each_other_call_and_each_of_many_in_a_list_an_export_and_a_watch(inside: Inside, seed: int) -> None:
    life = Life(inside, Random(seed))
    await life.begin()
    for _ in range(ROUNDS):
        await asyncio.gather(life.change(), *(life.look_up() for _ in range(READERS)))
    reads = await all_reads(inside)
    calls = {one.call for one in reads if one.verdict in (disclosures.VERDICT_PERMIT, disclosures.VERDICT_PARTIAL)}
    assert calls >= {"LookupCustomer", "ListIdentifiers", "ListMembers", "GetTimeline", "ExportChanges", "WatchProfiles"}
    await agree_again(inside, reads)


@pytest.mark.parametrize("seed", SEEDS)
async def test_so_does_each_of_those_whom_a_past_segment_or_other_rules_tell_of(inside: Inside, seed: int) -> None:
    life = Life(inside, Random(seed))
    await life.begin()
    await activated(inside.parts, command(RULES))
    for _ in range(ROUNDS):
        await asyncio.gather(life.change(), *(life.try_out() for _ in range(READERS)))
    reads = await all_reads(inside)
    assert {one.call for one in reads} == {"ListSegmentMembers", "SimulateRules"}
    await agree_again(inside, reads)


async def agree_again(inside: Inside, reads: Sequence[disclosures.Disclosure]) -> None:
    differing = []
    for one in reads:
        found = await inside.disclosed.RederiveDisclosure(disclosures.RederiveDisclosureRequest(disclosure_id=one.disclosure_id))
        if not found.agrees:
            differing.append((one.call, one.purpose_version, one.reason, found.reason, list(found.differences)))
    assert not differing, (len(differing), len(reads), differing[:5])
