"""What another policy would have made of past reads: without a change exactly what was decided, and with one what follows from it alone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import grpc
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import disclosure_pb2, policy_pb2
from c360.profile.v1 import profile_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.profile.domain.decided import KnownDecision
from services.profile.who_read import Placed, Wanted
from services.stack.stack import Stack
from shared.events.consent import EVERY_PURPOSE, KnownAge, PurposeDefined
from shared.ids import to_text
from shared.instants import DAY, now_us, to_timestamp
from shared.rpc.errors import reason_of
from tests.live.inside import Inside, cut_off, erased, founded, identified, merged, new_id
from tests.live.test_disclosures import read
from tests.live.test_ready import Shown

Found = tuple[list[policy_pb2.DifferingRead], policy_pb2.PolicyReport]


@pytest_asyncio.fixture(loop_scope="session")
async def shown(servers: Stack) -> AsyncIterator[Shown]:
    shown = Shown(await Inside.open(servers))
    await shown.begin()
    yield shown
    await shown.inside.close()


async def simulate(shown: Shown, *changes: policy_pb2.PolicyChange, **wanted: Any) -> Found:
    found, report, done = list[policy_pb2.DifferingRead](), None, 0
    async for response in shown.inside.policy.SimulatePolicy(policy_pb2.SimulatePolicyRequest(changes=changes, **wanted)):
        assert report is None, "the report comes last"
        assert done <= response.done_events <= response.total_events
        done = response.done_events
        found += response.reads
        report = response.report if response.HasField("report") else None
    assert report is not None
    return found, report


def of_news(since: int | None = None, **change: Any) -> policy_pb2.PolicyChange:
    return policy_pb2.PolicyChange(purpose="news", since_time=None if since is None else to_timestamp(since), **change)


def callers(found: list[policy_pb2.DifferingRead]) -> list[str]:
    return [one.disclosure.caller for one in found]


async def test_of_a_purpose_that_was_invalid_since_an_instant_all_reads_since_then_were_unlawful(shown: Shown) -> None:
    await read(shown, "before")
    since = now_us()
    await read(shown, "first")
    await read(shown, "second")
    await shown.decide("withdrawn")
    assert await read(shown, "refused") == "CONSENT_WITHDRAWN"
    found, report = await simulate(shown, of_news(since, invalid=True))
    assert callers(found) == ["first", "second"]
    assert {(one.verdict, one.reason) for one in found} == {(disclosure_pb2.VERDICT_DENY, "PURPOSE_INVALID")}
    assert list(found[0].fields) == list(found[0].disclosure.fields) == ["city"]
    assert (report.read_count, report.unaffected_count, report.unreproduced_count, report.unjudged_count) == (4, 1, 0, 0)
    told = report.unlawful
    assert (told.read_count, told.customer_count) == (2, 1)
    assert [(one.name, one.count) for one in told.callers] == [("first", 1), ("second", 1)]
    assert [(one.name, one.count) for one in told.reasons] == [("PURPOSE_INVALID", 2)]
    assert list(told.example_ids) == [one.disclosure.disclosure_id for one in found]
    assert (told.first_time, told.last_time) == (found[0].disclosure.read_time, found[1].disclosure.read_time)
    assert not report.needlessly_refused.read_count


async def test_on_another_basis_what_was_refused_would_have_been_permitted(shown: Shown) -> None:
    await shown.decide("withdrawn")
    assert await read(shown, "refused") == "CONSENT_WITHDRAWN"
    found, report = await simulate(shown, of_news(legal_basis="contract"))
    assert [(one.verdict, one.reason) for one in found] == [(disclosure_pb2.VERDICT_PERMIT, "CONTRACT")]
    assert [(one.name, one.count) for one in report.needlessly_refused.reasons] == [("CONSENT_WITHDRAWN", 1)]
    assert not (await simulate(shown, of_news(legal_basis="legitimate_interest")))[0]


async def test_what_is_asked_of_grants_is_asked_of_those_that_reads_went_by(shown: Shown) -> None:
    await read(shown, "a")
    notice = policy_pb2.RequiredNotice(name="marketing_consent", version=2)
    asked: list[tuple[dict[str, Any], str]] = [
        ({"double_opt_in": True}, "CONSENT_UNCONFIRMED"),
        ({"minimum_age": 16}, "AGE_NOT_ATTESTED"),
        ({"notice": notice}, "CONSENT_STALE"),
    ]
    for change, reason in asked:
        [one], report = await simulate(shown, of_news(**change))
        assert (one.reason, report.unlawful.read_count) == (reason, 1)


async def test_of_whoever_was_known_to_be_a_child_what_they_granted_would_not_have_counted(shown: Shown) -> None:
    await read(shown, "nobody knew")
    at = now_us()
    known = KnownDecision(
        request_id="a",
        decision_id=new_id(),
        identifier_hash=shown.hash,
        namespace="email",
        purpose=EVERY_PURPOSE,
        purpose_version=0,
        outcome="age_known",
        decided_at=at,
        recorded_at=at,
        age=KnownAge(under=16, at_least=13, by="desk", reason="letter"),
    )
    await shown._tell(known)
    assert await read(shown, "known") == "", "the purpose asks for no age"
    [one], report = await simulate(shown, of_news(minors_under=16))
    assert (one.disclosure.caller, one.reason, list(one.decision_ids)) == ("known", "MINOR", [to_text(known.decision_id)])
    assert report.unlawful.read_count == 1
    assert not (await simulate(shown, of_news(minors_under=13)))[0]


async def test_a_shorter_validity_ends_earlier(shown: Shown) -> None:
    offers = PurposeDefined(request_id="o", name="offers", version=1, description="", legal_basis="consent", traits=("*",))
    await shown._tell(offers)
    decided_at = now_us() - 40 * DAY
    granted = KnownDecision(
        request_id="g",
        decision_id=new_id(),
        identifier_hash=shown.hash,
        namespace="email",
        purpose="offers",
        purpose_version=1,
        outcome="granted",
        decided_at=decided_at,
        recorded_at=decided_at,
    )
    await shown._tell(granted)
    assert await read(shown, "a", "offers") == ""
    [one], _ = await simulate(shown, policy_pb2.PolicyChange(purpose="offers", expires_after_days=30))
    assert (one.reason, list(one.decision_ids)) == ("CONSENT_EXPIRED", [to_text(granted.decision_id)])
    assert not (await simulate(shown, policy_pb2.PolicyChange(purpose="offers", expires_after_days=50)))[0]


async def test_a_decision_that_is_supposed_to_be_withdrawn_counts_until_then(shown: Shown) -> None:
    await read(shown, "before")
    withdrawn_at = now_us()
    await read(shown, "after")
    await shown.decide("granted")
    await read(shown, "granted anew")
    every = [one.disclosure for one in (await simulate(shown, of_news(invalid=True)))[0]]
    [decision] = every[0].decision_ids
    change = policy_pb2.PolicyChange(since_time=to_timestamp(withdrawn_at), withdrawn_decision_id=decision)
    found, report = await simulate(shown, change)
    assert [(one.disclosure.caller, one.reason) for one in found] == [("after", "CONSENT_WITHDRAWN")]
    assert not report.unmet_decision_ids
    nobodys = to_text(b"x" * 16)
    found, report = await simulate(shown, policy_pb2.PolicyChange(withdrawn_decision_id=nobodys))
    assert (found, list(report.unmet_decision_ids)) == ([], [nobodys])


async def test_by_another_version_of_the_purpose_some_fields_would_not_have_been_shown(shown: Shown) -> None:
    await shown.purpose(2, "email")
    await shown.purpose(3)
    await read(shown, "a")
    [one], report = await simulate(shown, of_news(version=2))
    assert (one.verdict, list(one.fields)) == (disclosure_pb2.VERDICT_PARTIAL, ["city"])
    assert (report.partly_unlawful.read_count, report.unlawful.read_count) == (1, 0)
    assert not (await simulate(shown, of_news(version=1)))[0]


async def test_only_what_is_asked_for_is_judged(shown: Shown) -> None:
    for caller in ("a", "b"):
        await read(shown, caller)
    every, _ = await simulate(shown, of_news(invalid=True))
    assert callers(every) == ["a", "b"]
    assert callers((await simulate(shown, of_news(invalid=True), caller="b"))[0]) == ["b"]
    later = every[1].disclosure.read_time
    assert callers((await simulate(shown, of_news(invalid=True), since_time=later))[0]) == ["b"]
    assert callers((await simulate(shown, of_news(invalid=True), until_time=later))[0]) == ["a"]
    assert not (await simulate(shown, of_news(invalid=True), read_purpose="service"))[0]
    whose = CustomerRef(customer_id=to_text(shown.stream))
    assert callers((await simulate(shown, of_news(invalid=True), customer=whose))[0]) == ["a", "b"]
    nobody = CustomerRef(customer_id=to_text(b"n" * 16))
    assert (await simulate(shown, of_news(invalid=True), customer=nobody))[1].read_count == 0


async def test_of_whoever_was_erased_since_it_is_said_that_it_is_not_known(shown: Shown) -> None:
    await read(shown, "a")
    pool = shown.inside._pools[0]
    await shown.inside.record([erased(shown.stream)])
    await pool.execute("DELETE FROM decisions")
    found, report = await simulate(shown, of_news(expires_after_days=1))
    assert (found, report.unreproduced_count, list(report.unreproduced_ids)) == ([], 1, ["0.0"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "CHANGE_INVALID"),
        ({"purpose": "news"}, "CHANGE_INVALID"),
        ({"purpose": "news", "invalid": False}, "CHANGE_INVALID"),
        ({"purpose": "news", "legal_basis": "whim"}, "CHANGE_INVALID"),
        ({"purpose": "news", "jurisdiction": ""}, "CHANGE_INVALID"),
        ({"purpose": "news", "expires_after_days": 36_501}, "CHANGE_INVALID"),
        ({"purpose": "news", "minimum_age": 151}, "CHANGE_INVALID"),
        ({"purpose": "news", "minors_under": 151}, "CHANGE_INVALID"),
        ({"invalid": True}, "CHANGE_INVALID"),
        ({"purpose": "nothing", "invalid": True}, "PURPOSE_UNKNOWN"),
        ({"purpose": "news", "version": 9}, "PURPOSE_UNKNOWN"),
        ({"withdrawn_decision_id": "x"}, "DECISION_ID_INVALID"),
        ({"purpose": "news", "invalid": True, "since_time": Timestamp(nanos=-1)}, "INSTANT_INVALID"),
    ],
)
async def test_what_can_not_be_supposed_is_refused(shown: Shown, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await simulate(shown, policy_pb2.PolicyChange(**change))
    assert reason_of(refused.value) == reason


async def test_at_most_a_hundred_changes_are_supposed_and_two_simulations_run(shown: Shown) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await simulate(shown, *[of_news(invalid=True)] * 101)
    assert reason_of(refused.value) == "TOO_MANY_CHANGES"
    policies = shown.inside.disclosures.policies
    await asyncio.gather(read(shown, "a"), read(shown, "b"))
    running = [policies.simulate([], Wanted()) for _ in range(2)]
    for one in running:
        await anext(one)
    with pytest.raises(grpc.RpcError) as refused:
        await simulate(shown)
    assert reason_of(refused.value) == "SIMULATIONS_BUSY"
    for one in running:
        await one.aclose()
    await simulate(shown)


class Life:
    """Two customers, and whatever may come: reads of all kinds between whatever may change what they are answered."""

    def __init__(self, shown: Shown, random: Random) -> None:
        self.shown, self.inside, self.random = shown, shown.inside, random
        self.version, self.merges, self.refused = 1, 0, 0

    async def begin(self) -> None:
        for name, basis in (("service", "contract"), ("care", "legitimate_interest"), ("law", "legal_obligation")):
            await self.shown._tell(
                PurposeDefined(request_id=name, name=name, version=1, description="", legal_basis=basis, traits=("*",))  # type: ignore[arg-type]
            )
        other = self.shown.other
        await self.inside.record([founded(other, 2), identified(other, self.shown.keys[other], 3, city="Hull")])

    async def step(self) -> None:
        happens: Callable[[], Awaitable[None]] = self.random.choice(
            [self.read] * 6 + [self.decide] * 3 + [self.merge, self.split, self.purpose, self.fact]
        )
        await happens()

    async def read(self) -> None:
        stream = self.random.choice([self.shown.stream, self.shown.other])
        named: dict[str, Any] = {
            "customer": CustomerRef(customer_id=to_text(stream)),
            "purpose": self.random.choice(["news", "news", "care", "service"]),
        }
        calls = self.inside.calls
        past = to_timestamp(now_us() - self.random.randrange(500_000))
        asked: Callable[[], Awaitable[Any]] = self.random.choice(
            [
                lambda: calls.GetProfile(pb.GetProfileRequest(**named)),
                lambda: calls.GetProfile(pb.GetProfileRequest(**named, known_at=past)),
                lambda: calls.LookupCustomer(pb.LookupCustomerRequest(**named)),
                lambda: calls.GetTimeline(pb.GetTimelineRequest(**named)),
                lambda: calls.BatchGetProfiles(
                    pb.BatchGetProfilesRequest(queries=[pb.ProfileQuery(customer=named["customer"])], purpose=named["purpose"])
                ),
            ]
        )
        try:
            await asked()
        except grpc.RpcError:
            self.refused += 1

    async def decide(self) -> None:
        outcome = self.random.choice(["granted", "granted", "withdrawn", "refused", "objected", "opted_out"])
        await self.shown.decide(outcome, confirmed=self.random.random() < 0.5)  # type: ignore[arg-type]

    async def merge(self) -> None:
        self.merges += 1
        likely = self.random.random() < 0.5
        await self.inside.record(merged(self.shown.stream, self.shown.other, 2, number=self.merges, likely=likely))

    async def split(self) -> None:
        await self.inside.record(cut_off(self.shown.stream, self.shown.other, self.merges))

    async def purpose(self) -> None:
        self.version += 1
        await self.shown.purpose(
            self.version, *self.random.choice([(), ("email",)]), expires_after_days=self.random.choice([0, 30])
        )

    async def fact(self) -> None:
        stream = self.random.choice([self.shown.stream, self.shown.other])
        await self.inside.record([identified(stream, self.shown.keys[stream], now_us(), city=f"city {self.random.random()}")])


async def everything(shown: Shown) -> list[tuple[Any, ...]]:
    """Log positions and numbers of rows of all tables."""
    found = list[tuple[Any, ...]]()
    for pool in (shown.inside._pools[0], shown.inside._pools[2]):
        rows = await pool.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'alembic_version' ORDER BY tablename"
        )
        for row in rows:
            found.append((row["tablename"], await pool.fetchval(f'SELECT count(*) FROM "{row["tablename"]}"')))
        found.append(tuple(await pool.fetch("SELECT partition, next_pos FROM partition_heads ORDER BY partition")))
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happened_each_read_is_judged_again_as_it_was_and_with_a_change_as_that_says(
    shown: Shown, seed: int
) -> None:
    life = Life(shown, Random(seed))
    await life.begin()
    instants = []
    for number in range(80):
        await life.step()
        if number % 20 == 10:
            instants.append(now_us())
    before = await everything(shown)
    found, report = await simulate(shown)
    assert (found, report.unreproduced_count, report.unjudged_count, list(report.unreproduced_ids)) == ([], 0, 0, [])
    assert report.read_count > 20
    assert life.refused > 0

    unlawful: set[str] = set()
    for purpose in ("news", "care", "service"):
        found, report = await simulate(shown, policy_pb2.PolicyChange(purpose=purpose, invalid=True))
        unlawful |= {one.disclosure.disclosure_id for one in found}
        assert len(found) == report.unlawful.read_count
    given = [one.place for one in await all_reads(shown) if one.disclosure.given.terms.outcome in ("permit", "partial")]
    assert unlawful == {f"{position}.{place}" for position, place in given}

    supposed: list[dict[str, Any]] = [{"invalid": True}, {"double_opt_in": True}, {"legal_basis": "legitimate_interest"}]
    for change in supposed:
        told = [await simulate(shown, of_news(since, **change)) for since in sorted(instants)]
        for since, (fewer, _), (more, _) in zip(sorted(instants)[1:], told[1:], told, strict=False):
            assert [one for one in more if one.disclosure.read_time.ToMicroseconds() >= since] == fewer
    assert await everything(shown) == before, "nothing is written"


async def all_reads(shown: Shown) -> list[Placed]:
    stretches = shown.inside.disclosures.policies._reads.stretches(Wanted())
    return [one async for stretch in stretches for one in stretch.reads]
