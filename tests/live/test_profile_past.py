"""The past on every path of a real profile service: at random instants of a story with late events, merges, splits and erasures,
every call answers what a plain replay of the log gives."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.profile.v1 import profile_pb2 as pb

from services.profile.app import Instant
from services.profile.timelines import place_of
from services.stack.stack import Stack
from shared.errors import CustomerError
from shared.events import customer as events
from shared.ids import partition_of, to_text
from shared.instants import END_OF_TIME, from_timestamp, now_us
from shared.log import Record
from shared.rpc.errors import reason_of
from tests.live.inside import Inside, new_id
from tests.live.test_profile_rules import activated, command
from tests.properties.past_store import AUDIT, Keys, Past
from tests.properties.pasts import LATEST, SOURCES, Teller
from tests.properties.plain_replay import Answer, plain_identifiers, plain_profile, plain_refusal

PARTITIONS = 4
STEPS = 60
INSTANTS = 20
LETTERS = ["a", "b", "c"]
RULES = """{"segments": {"kiel": {"when": "traits.city == 'Kiel'"}}}"""


class VaultKeys(Keys):
    """Those that a test was given by the real vault."""

    def __init__(self, lookup_key: bytes) -> None:
        super().__init__()
        self._lookup_key = lookup_key

    @property
    def lookup_key(self) -> bytes:
        return self._lookup_key


@dataclass
class Told:
    """The same story in the service and in memory; `past.log` has the service's own records."""

    inside: Inside
    past: Past
    customers: list[bytes]
    chance: random.Random

    async def _call(self, method: str, customer: CustomerRef, instant: Instant, **more: Any) -> Any:
        """The answer, or why there is none."""
        request = getattr(pb, f"{method}Request")(customer=customer, purpose="audit", **more)
        stamp(request, instant)
        try:
            return await getattr(self.inside.calls, method)(request, timeout=30)
        except grpc.aio.AioRpcError as refused:
            return reason_of(refused)

    def plain(self, customer: bytes, instant: Instant, *, now: bool) -> tuple[Answer, list[Record]] | str:
        """`now`: of who is erased nothing is told."""
        refusal = plain_refusal(self.past, customer, AUDIT, now)
        return refusal or plain_profile(self.past, customer, instant.valid_at, instant.known_at) or "CUSTOMER_UNKNOWN"

    async def profiles(self, instant: Instant) -> None:
        expected = [self.plain(customer, instant, now=instant.is_now) for customer in self.customers]
        asked = [CustomerRef(customer_id=to_text(customer)) for customer in self.customers]
        for reference, wanted in zip(asked, expected, strict=True):
            answer = await self._call("GetProfile", reference, instant)
            assert shown(answer if isinstance(answer, str) else answer.profile) == as_shown(wanted)
        batch = pb.BatchGetProfilesRequest(queries=[pb.ProfileQuery(customer=one) for one in asked], purpose="audit")
        stamp(batch, instant)
        results = (await self.inside.calls.BatchGetProfiles(batch, timeout=30)).results
        assert [shown(one.refusal.reason or one.profile) for one in results] == [as_shown(wanted) for wanted in expected]

    async def versions(self, instant: Instant) -> None:
        for customer in self.customers:
            own = [record for record in self.past.log.records if record.entry.stream == customer]
            number = self.chance.randint(1, len(own) + 1)
            asked = Instant(valid_at=instant.valid_at)
            answer = await self._call("GetProfile", CustomerRef(customer_id=to_text(customer)), asked, version=number)
            known_at = own[number - 1].recorded_at if number <= len(own) else 0
            wanted = self.plain(customer, Instant(instant.valid_at, known_at), now=False)
            none = wanted if number <= len(own) or wanted != "CUSTOMER_UNKNOWN" else "VERSION_UNKNOWN"
            assert shown(answer if isinstance(answer, str) else answer.profile) == as_shown(none)
            assert isinstance(answer, str) or from_timestamp(answer.known_at) == known_at

    async def timelines(self, instant: Instant) -> None:
        for customer in self.customers:
            answer = await self._call("GetTimeline", CustomerRef(customer_id=to_text(customer)), instant, page_size=500)
            wanted = self.plain(customer, instant, now=False)
            if isinstance(wanted, str):
                assert answer == wanted
            else:
                records = sorted(wanted[1], key=place_of, reverse=True)
                assert [entry.event_id for entry in answer.entries] == [to_text(record.entry.event_id) for record in records]

    async def memberships(self, instant: Instant) -> None:
        for customer in self.customers:
            wanted = self.plain(customer, instant, now=instant.is_now)
            try:
                belonging = await self.inside.parts.belongings.of(customer, AUDIT, instant, "now")
                found: Any = (belonging.segments, belonging.redacted)
            except CustomerError as refused:
                found = refused.reason
            assert found == (wanted if isinstance(wanted, str) else in_kiel(wanted[0]))

    async def lookups(self, instant: Instant) -> None:
        for letter in LETTERS:
            email = Identifier(namespace="email", value=f"{letter}@shop.example")
            answer = await self._call("LookupCustomer", CustomerRef(identifier=email), instant)
            assert (answer if isinstance(answer, str) else answer.customer_id) in self._named(letter, instant)

    def _named(self, letter: str, instant: Instant) -> set[str]:
        """Of who was erased, those who had it earlier aren't told."""
        value_hash = Teller(self.past).hash(letter)
        ended = [public for r in self.past.log.records if isinstance(public := r.entry.public(), events.CustomerErased)]
        named = {"IDENTIFIER_UNKNOWN"} if any(value_hash in public.identifier_hashes for public in ended) else set()
        for customer in self.customers:
            known = value_hash in plain_identifiers(self.past, customer, instant.valid_at, instant.known_at)
            if known and customer in self.past.keys.held:
                wanted = self.plain(customer, instant, now=instant.is_now)
                named.add(wanted if isinstance(wanted, str) else to_text(wanted[0].members[0]))
        return named or {"IDENTIFIER_UNKNOWN"}


def in_kiel(answer: Answer) -> tuple[list[str], list[str]]:
    """Whether in the segment, and whether that can't be known: who was one with somebody that was erased since."""
    if answer.redacted:
        return [], ["kiel"]
    return ["kiel"] if lives_in_kiel(answer) else [], []


def stamp(request: Any, instant: Instant) -> None:
    for name in ("valid_at", "known_at"):
        if (at := getattr(instant, name)) != END_OF_TIME:
            getattr(request, name).FromMicroseconds(at)


def shown(answer: Any) -> Any:
    if isinstance(answer, str):
        return answer
    traits = {name: (trait.value.number_value or trait.value.string_value, trait.source) for name, trait in answer.traits.items()}
    identifiers = {identifier.value for identifier in answer.identifiers}
    times = answer.found_time.ToMicroseconds(), answer.last_seen_time.ToMicroseconds()
    return list(answer.member_ids), traits, identifiers, times, answer.version, answer.redacted_events


def as_shown(wanted: tuple[Answer, list[Record]] | str) -> Any:
    if isinstance(wanted, str):
        return wanted
    one = wanted[0]
    traits = {name: (value, source) for name, (value, source, _, _) in one.traits.items()}
    identifiers = {value for value in one.identifiers.values() if value is not None}
    return list(map(to_text, one.members)), traits, identifiers, (one.founded_at, one.last_seen_at), one.version, one.redacted


def lives_in_kiel(answer: Answer) -> bool:
    return "city" in answer.traits and answer.traits["city"][0] == "Kiel"


def a_step(chance: random.Random) -> tuple[Any, ...]:
    one, other, at = chance.randrange(4), chance.randrange(4), chance.randint(1, LATEST)
    source = chance.choice(SOURCES)
    said = {"city": chance.choice(["Kiel", "Kiel", "Bremen", None]), "tier": chance.randint(1, 3)}
    kinds = [
        ("identify", one, at, source, said),
        ("track", one, at, source, chance.choice(["", *LETTERS])),
        ("link", one, at, chance.choice(LETTERS)),
        ("unlink", chance.randrange(9), at),
        ("merge", one, other, at),
        ("split", chance.randrange(9), at),
    ]
    return chance.choices(kinds, weights=[6, 3, 3, 1, 2, 1])[0]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(servers: Stack) -> AsyncIterator[Told]:
    inside = await Inside.open(servers, snapshot_every=1)
    await inside.define(AUDIT)
    await activated(inside.parts, command(RULES))
    customers, past, chance = [new_id() for _ in range(4)], Past(), random.Random("a story")
    past.keys = VaultKeys(inside.vault.lookup_key)
    past.keys.held = await inside.keys(customers)
    teller = Teller(past, customers)
    for number in range(STEPS):
        before, held = len(past.log.records), set(past.keys.held)
        step = ("erase", chance.randrange(4), LATEST) if number == STEPS * 3 // 4 else a_step(chance)
        if step[0] == "link":  # it is one customer's at a time
            held_by = [place for place, (_, _, value_hash) in enumerate(teller.links) if value_hash == teller.hash(step[3])]
            for place in held_by:
                teller.play(("unlink", place, step[2]))
        teller.play(step)
        if chance.random() < 0.7:
            teller.commit()
        await inside.record(record.entry for record in past.log.records[before:])
        await inside.vault.destroy(held - past.keys.held.keys(), now_us())
    past.log.records = await inside.reader.streams([(partition_of(one, PARTITIONS), one) for one in customers])
    yield Told(inside, past, customers, chance)
    await inside.close()


@pytest.mark.parametrize("path", ["profiles", "versions", "timelines", "memberships", "lookups"])
async def test_every_path_answers_at_random_instants_what_a_plain_replay_gives(told: Told, path: str) -> None:
    chance = random.Random(path)
    recorded = sorted({record.recorded_at for record in told.past.log.records})
    for _ in range(INSTANTS):
        known_at = chance.choice([END_OF_TIME, *(instant + shift for instant in recorded for shift in (-1, 0))])
        await getattr(told, path)(Instant(chance.choice([END_OF_TIME, *range(LATEST + 1)]), known_at))
