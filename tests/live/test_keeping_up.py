"""A process that follows the owner of the log answers as the owner does, from the next look on; whatever is recorded and decided meanwhile, each of its
answers is of one moment, and follows again from its record."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import grpc
import msgspec
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import disclosure_pb2
from c360.profile.v1 import profile_pb2 as pb

from services.profile import keeping_up
from services.profile.domain.rules_document import SHIPPED, to_json
from services.profile.standing_by import _unless_ended
from services.profile.tables.rulebook import RULES_STREAM
from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.catalogue import Entry, UnknownEvent, make_entry
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED, ProfileRulesActivated, ProfileRulesDiffer
from shared.ids import to_text
from shared.rpc.errors import reason_of
from tests.e2e.client import by_identifier
from tests.live.inside import Inside, cut_off, erased, founded, identified, merged, new_id
from tests.live.test_ready import EMAIL, Shown

STEPS: Final = 60
READERS: Final = 4
PATIENCE_S: Final = 60.0

Act = Callable[[], Awaitable[object]]


class Followed(Shown):
    """Of what is shown another process tells, too."""

    def __init__(self, inside: Inside, beside: Inside) -> None:
        super().__init__(inside)
        self.beside = beside
        self._number = 100
        self._links = dict[bytes, bytes]()

    def linked(self, stream: bytes) -> Entry:
        entry = super().linked(stream)
        self._links[stream] = entry.event_id
        return entry

    async def begin(self) -> None:
        await super().begin()
        self.beside.parts.lease._until = float("inf")
        await self.inside.record([founded(self.other, 2)])
        self.follow = self.beside.parts.keeping_up.look
        self.beside.disclosures.disclosed.confirm_by(self.follow)
        await self.follow()

    async def told(self, inside: Inside, stream: bytes | None = None) -> list[str]:
        """The city, by id and by address, or why it isn't told."""
        customers = CustomerRef(customer_id=to_text(stream or self.stream)), by_identifier("email", EMAIL)
        return [await self._city(inside, customer) for customer in customers]

    async def _city(self, inside: Inside, customer: CustomerRef) -> str:
        request = pb.GetProfileRequest(customer=customer, purpose="news")
        try:
            answer = await inside.calls.GetProfile(request, metadata=(("x-request-id", to_text(new_id())),))
        except grpc.RpcError as error:
            return reason_of(error)
        return str(answer.profile.traits["city"].value.string_value)

    def acts(self) -> list[Act]:
        return [self.says, self.says, self.withdraws, self.grants, self.joins, self.parts, self.moves, self.defines, self.rules]

    async def says(self) -> None:
        self._number += 1
        stream = random.Random(self._number).choice([self.stream, self.other])
        await self.inside.record([identified(stream, self.keys[stream], self._number, city=f"city {self._number}")])

    async def withdraws(self) -> None:
        await self.decide("withdrawn")

    async def grants(self) -> None:
        await self.decide("granted")

    async def joins(self) -> None:
        self._number += 1
        number = self._number % 200
        both = [identified(one, self.keys[one], self._number, city=f"joint {self._number}") for one in (self.stream, self.other)]
        await self.inside.record([*merged(self.stream, self.other, 2, number=number), *both])

    async def parts(self) -> None:
        await self.inside.record(cut_off(self.stream, self.other, 199))

    async def moves(self) -> None:
        """The address becomes the other's, or comes back."""
        self._number += 1
        stream, former = (self.stream, self.other) if self._number % 2 else (self.other, self.stream)
        public = events.IdentifierUnlinked(link_id=self._links.get(former, b""), value_hash=self.hash, cause=b"")
        await self.inside.record([make_entry(events.UNLINKED, former, new_id(), 0, public), self.linked(stream)])

    async def defines(self) -> None:
        self._number += 1
        await self.purpose(self._number, *(["city"] if self._number % 2 else ["*"]))

    async def rules(self) -> None:
        """The same under another number: what was ready by the former ones isn't any more."""
        recorder, rulebook = self.inside.parts.recorder, self.inside.parts.rulebook
        async with recorder.turn():
            event = ProfileRulesActivated(
                request_id=to_text(new_id()),
                version=rulebook.rules.version + 1,
                document=to_json(SHIPPED),
                activated_by="ops",
                reason="again",
                expected=ProfileRulesDiffer(),
            )
            await recorder.append_rules(make_entry(PROFILE_RULES_ACTIVATED, RULES_STREAM, new_id(), 0, event))


@pytest_asyncio.fixture(loop_scope="session")
async def followed(servers: Stack) -> AsyncIterator[Followed]:
    inside = await Inside.open(servers)
    followed = Followed(inside, await Inside.beside(servers))
    await followed.begin()
    yield followed
    await followed.beside.close()
    await inside.close()


@pytest.mark.parametrize("seed", range(4))
async def test_after_a_look_it_answers_as_the_owner_whatever_has_happened(followed: Followed, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(STEPS):
        await chance.choice(followed.acts())()
        await followed.follow()
        for stream in (followed.stream, followed.other):
            expected = await followed.told(followed.inside, stream)
            assert [await followed.told(followed.beside, stream) for _ in range(2)] == [expected] * 2, "ready or not"
    assert followed.beside.parts.rulebook.rules.version == followed.inside.parts.rulebook.rules.version


async def test_who_is_erased_is_told_no_more_and_her_address_is_nobodys(followed: Followed) -> None:
    assert await followed.told(followed.beside) == ["Kiel"] * 2
    gone = msgspec.structs.replace(erased(followed.stream).public(), identifier_hashes=(followed.hash,))
    await followed.inside.record([make_entry(events.ERASED, followed.stream, new_id(), 0, gone)])
    await followed.follow()
    assert await followed.told(followed.beside) == ["CUSTOMER_ERASED", "IDENTIFIER_UNKNOWN"]


async def test_what_is_ready_is_not_given_out_where_it_is_not_known_whether_it_changed(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the database doesn't say how far the owner is; whoever asks then waits for that."""
    followed.beside.parts.ready.is_told = followed.beside.parts.keeping_up.is_recent
    for _ in range(2):
        assert await followed.told(followed.beside) == ["Kiel"] * 2
    monkeypatch.setattr(keeping_up, "RECENT_S", 0.0)
    await followed.withdraws()
    assert await followed.told(followed.beside) == ["CONSENT_WITHDRAWN"] * 2
    await followed.grants()
    assert await followed.told(followed.beside) == ["Kiel"] * 2


async def test_who_can_not_follow_any_more_ends() -> None:
    async def fail() -> None:
        raise UnknownEvent("customer.linked")

    following = asyncio.create_task(fail())
    with pytest.raises(UnknownEvent):
        await _unless_ended(asyncio.sleep(PATIENCE_S), following)


async def test_far_behind_it_begins_from_what_stands(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await followed.told(followed.beside) == ["Kiel"] * 2
    monkeypatch.setattr(keeping_up, "MOST_EVENTS", 3)
    for act in (followed.says, followed.joins, followed.rules, followed.withdraws):
        await act()
    await followed.follow()
    assert await followed.told(followed.beside) == await followed.told(followed.inside) == ["CONSENT_WITHDRAWN"] * 2


async def test_what_is_written_is_waited_for(followed: Followed) -> None:
    following = asyncio.create_task(followed.beside.parts.keeping_up.run())
    for _ in range(30):
        await followed.says()
        for partition, head in followed.inside.parts.recorder.writer.heads.items():
            await followed.beside.parts.progress.wait(f"profile/{partition}", head.next_pos - 1, PATIENCE_S)
        assert await followed.told(followed.beside) == await followed.told(followed.inside)
    following.cancel()


@pytest.mark.parametrize("seed", range(2))
async def test_each_answer_is_of_one_moment_and_follows_again_from_its_record(followed: Followed, seed: int) -> None:
    chance, over = random.Random(seed), False
    following = asyncio.create_task(followed.beside.parts.keeping_up.run())

    async def read() -> None:
        while not over:
            await followed.told(followed.beside, random.Random(seed).choice([followed.stream, followed.other]))

    readers = [asyncio.create_task(read()) for _ in range(READERS)]
    for _ in range(STEPS):
        await chance.choice(followed.acts())()
        await asyncio.sleep(chance.random() / 50)
    over = True
    await asyncio.gather(*readers)
    following.cancel()
    found = await followed.inside.disclosed.WhoRead(disclosure_pb2.WhoReadRequest(page_size=500))
    assert len(found.disclosures) > STEPS
    for one in found.disclosures:
        request = disclosure_pb2.RederiveDisclosureRequest(disclosure_id=one.disclosure_id)
        answer = await followed.inside.disclosed.RederiveDisclosure(request)
        assert answer.agrees, (one, answer)
