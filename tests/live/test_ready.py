"""Whatever changes what a profile is, or who may see it, is in the next answer, although the last one stood ready."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2 as pb

from services.profile.domain.decided import KnownDecision
from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import Outcome, PurposeDefined
from shared.identifiers import hash_of, normalise
from shared.ids import to_text
from shared.instants import DAY, now_us
from shared.rpc.errors import reason_of
from tests.e2e.client import by_identifier
from tests.live.inside import Inside, cut_off, founded, identified, linked, merged, new_id

EMAIL = "ann@example.com"


class Shown:
    """Ann, read for a purpose that needs her consent; by her address, and by her id."""

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        self.stream, self.other = new_id(), new_id()
        self.decided = 10

    async def begin(self) -> None:
        self.keys = await self.inside.keys([self.stream, self.other])
        self.hash = hash_of(normalise("email", EMAIL), self.inside.vault.lookup_key)
        self.inside.parts.lease._until = float("inf")
        await self.purpose(1)
        await self.decide("granted")
        key = self.keys[self.stream]
        await self.inside.record([founded(self.stream, 1), self.linked(self.stream), identified(self.stream, key, 1, city="Kiel")])

    def linked(self, stream: bytes) -> Entry:
        public = events.IdentifierLinked(namespace="email", value_hash=self.hash, cause=b"")
        return make_entry(events.LINKED, stream, new_id(), 0, public, events.LinkedValue(value=EMAIL), self.keys[stream])

    async def purpose(self, version: int, *traits: str, expires_after_days: int = 0) -> None:
        await self._tell(
            PurposeDefined(
                request_id="1",
                name="news",
                version=version,
                description="",
                legal_basis="consent",
                traits=traits or ("*",),
                expires_after_days=expires_after_days,
            )
        )

    async def decide(
        self, outcome: Outcome, *, confirmed: bool = False, by: bytes | None = None, decided_at: int | None = None
    ) -> None:
        decision = KnownDecision(
            request_id=to_text(new_id()),
            decision_id=new_id(),
            identifier_hash=by or self.hash,
            namespace="email",
            purpose="news",
            purpose_version=1,
            outcome=outcome,
            decided_at=decided_at or now_us(),
            recorded_at=now_us(),
            confirmed=confirmed,
        )
        await self._tell(decision)

    async def _tell(self, event: PurposeDefined | KnownDecision) -> None:
        self.decided += 1
        await self.inside.parts.consent._apply([event], self.decided)

    async def both(self) -> list[pb.Profile | str]:
        """What is answered, or the reason why not; asked twice, it is the same, and the second one stood ready if it was a profile."""
        answers: list[pb.Profile | str] = []
        for customer in (CustomerRef(customer_id=to_text(self.stream)), by_identifier("email", EMAIL)):
            request = pb.GetProfileRequest(customer=customer, purpose="news")
            answers.append(await self._ask(request))
            found = self.inside.parts.ready.find(request.SerializeToString())
            assert (found is not None) == isinstance(answers[-1], pb.Profile)
            assert await self._ask(request) == answers[-1]
        return answers

    async def _ask(self, request: pb.GetProfileRequest) -> pb.Profile | str:
        try:
            profile: pb.Profile = (await self.inside.calls.GetProfile(request)).profile
        except grpc.RpcError as error:
            return reason_of(error)
        return profile


@pytest_asyncio.fixture(loop_scope="session")
async def shown(servers: Stack) -> AsyncIterator[Shown]:
    shown = Shown(await Inside.open(servers))
    await shown.begin()
    yield shown
    await shown.inside.close()


def cities(answers: list[pb.Profile | str]) -> list[str]:
    return [answer if isinstance(answer, str) else answer.traits["city"].value.string_value for answer in answers]


async def test_events_and_merges_are_in_the_next_answer(shown: Shown) -> None:
    assert cities(await shown.both()) == ["Kiel", "Kiel"]
    await shown.inside.record([identified(shown.stream, shown.keys[shown.stream], 2, city="Bremen")])
    assert cities(await shown.both()) == ["Bremen", "Bremen"]
    await shown.inside.record(merged(shown.stream, shown.other, 2))  # whose own unit comes later
    assert cities(await shown.both()) == ["Bremen", "Bremen"]
    await shown.inside.record([founded(shown.other, 2), identified(shown.other, shown.keys[shown.other], 3, city="Hull")])
    assert cities(await shown.both()) == ["Hull", "Hull"]


async def test_an_address_that_became_somebody_elses_answers_for_that_one(shown: Shown) -> None:
    assert cities(await shown.both()) == ["Kiel", "Kiel"]
    other = shown.keys[shown.other]
    await shown.inside.record([founded(shown.other, 2), shown.linked(shown.other), identified(shown.other, other, 1, city="Hull")])
    assert cities(await shown.both()) == ["Kiel", "Hull"]


async def test_consent_its_lease_and_the_purpose_are_those_of_now(shown: Shown) -> None:
    assert cities(await shown.both()) == ["Kiel", "Kiel"]
    await shown.decide("withdrawn")
    assert await shown.both() == ["CONSENT_WITHDRAWN"] * 2
    await shown.decide("granted")
    assert cities(await shown.both()) == ["Kiel", "Kiel"]
    shown.inside.parts.lease._until = 0.0
    request = pb.GetProfileRequest(customer=by_identifier("email", EMAIL), purpose="news")
    assert await shown._ask(request) == "CONSENT_NOT_CONFIRMED"
    shown.inside.parts.lease._until = float("inf")
    await shown.purpose(2, "email")
    assert cities(await shown.both()) == ["", ""]


async def test_who_is_only_likely_the_same_answers_for_itself(shown: Shown) -> None:
    other, likely = shown.keys[shown.other], linked(shown.other, shown.keys[shown.other], "bob@example.com")
    await shown.inside.record([founded(shown.other, 2), likely, identified(shown.other, other, 3, city="Hull")])
    await shown.inside.record(merged(shown.stream, shown.other, 2, likely=True))
    assert cities(await shown.both()) == ["Kiel", "Kiel"], "who was never asked is left out"
    request = pb.GetProfileRequest(customer=CustomerRef(customer_id=to_text(shown.other)), purpose="news")
    assert await shown._ask(request) == "CONSENT_MISSING"
    await shown.decide("granted", by=likely.public().value_hash)
    assert cities(await shown.both()) == ["Hull", "Hull"], "each has granted, so they are shown as one"
    await shown.decide("objected", by=likely.public().value_hash)
    assert await shown.both() == ["OBJECTED"] * 2
    await shown.inside.record(cut_off(shown.stream, shown.other))
    assert cities(await shown.both()) == ["Kiel", "Kiel"]


async def test_an_answer_stands_ready_until_the_grant_expires(shown: Shown) -> None:
    began = now_us()
    await shown.decide("granted")
    await shown.purpose(2, expires_after_days=7)
    assert cities(await shown.both()) == ["Kiel", "Kiel"]
    assert all(began <= ready.until - 7 * DAY <= now_us() for ready in shown.inside.parts.ready._held.values())


async def test_a_value_that_was_confirmed_is_shown_as_verified(shown: Shown) -> None:
    await shown.inside.record([identified(shown.stream, shown.keys[shown.stream], 2, email=EMAIL)])
    assert [profile.traits["email"].verified for profile in await shown.both() if not isinstance(profile, str)] == [False, False]
    await shown.decide("granted", confirmed=True)
    assert [profile.traits["email"].verified for profile in await shown.both() if not isinstance(profile, str)] == [True, True]


@pytest.mark.parametrize("told", ["by the vault", "by identity"])
async def test_who_was_erased_is_not_served_from_what_stood_ready(shown: Shown, told: str) -> None:
    assert cities(await shown.both()) == ["Kiel", "Kiel"]
    await shown.inside.vault.destroy([shown.stream], now_us())
    if told == "by the vault":
        shown.inside.parts.on_destroyed([shown.stream])
        assert await shown.both() == ["CUSTOMER_ERASED"] * 2
    else:
        public = events.CustomerErased(erasure_id=new_id(), policy="refuse", identifier_hashes=(shown.hash,))
        await shown.inside.record([make_entry(events.ERASED, shown.stream, new_id(), now_us(), public)])
        assert await shown.both() == ["CUSTOMER_ERASED", "IDENTIFIER_UNKNOWN"]


async def test_another_edition_of_the_views_is_what_is_answered_from(shown: Shown) -> None:
    assert cities(await shown.both()) == ["Kiel", "Kiel"]
    pool = shown.inside._pools[0]
    await pool.execute("DELETE FROM identifiers")
    assert cities(await shown.both()) == ["Kiel", "Kiel"], "what is in memory is not looked at again"
    shown.inside.parts.on_replaced()
    assert cities(await shown.both()) == ["Kiel", "IDENTIFIER_UNKNOWN"]
