"""The Python client against everything: what it answers, what it has written is read, and it outlasts a service that ends."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import customer360_client as c360
import grpc
import pytest
from c360.common.v1 import common_pb2
from c360.consent.v1 import consent_pb2
from customer360_client.messages import (
    EVENT_TYPE_IDENTIFY,
    EVENT_TYPE_TRACK,
    OUTCOME_GRANTED,
    OUTCOME_WITHDRAWN,
    Event,
    Identifier,
    struct,
)

from services.stack.stack import Stack
from tests.e2e.client import PROOFS, Platform
from tests.live.channel_backend import DEADLINE_S, Backend, LosesAnswers, operator_token_file, settings_of
from tests.stacks import fresh_stack

SHORT_S = 2.0
MUCH_LATER_S = 20.0  # a busy machine's


@pytest.fixture(scope="module")
def installation() -> Iterator[Stack]:
    """It lets in who proves who they are."""
    with fresh_stack(auth="jwt") as stack:
        yield stack


@pytest.fixture(scope="module")
def platform(installation: Stack) -> Iterator[Platform]:
    endpoints = installation.endpoints
    token = operator_token_file(installation).read_text().strip()
    proofs = {address: lambda: token for address in (endpoints.profile, endpoints.consent)}
    PROOFS.update(proofs)
    with Platform(endpoints) as platform:
        yield platform
    for address in proofs:
        del PROOFS[address]


@pytest.fixture(scope="module")
def asking_consent(platform: Platform) -> str:
    """A purpose that does."""
    return platform.define_purpose("email", "city")


@pytest.fixture(params=[c360.Client, c360.AsyncClient])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def backend(installation: Stack, kind: Any) -> AsyncIterator[Backend]:
    async with Backend(kind(settings_of(installation))) as backend:
        yield backend


class Person:
    def __init__(self) -> None:
        self.user_id = uuid.uuid4().hex
        self.email = Identifier(namespace="email", value=f"{self.user_id}@example.com")
        self.named = c360.by_identifier("email", self.email.value)

    def identified(self, **traits: Any) -> Event:
        return Event(type=EVENT_TYPE_IDENTIFY, user_id=self.user_id, traits=struct({"email": self.email.value, **traits}))

    def did(self, name: str) -> Event:
        return Event(type=EVENT_TYPE_TRACK, user_id=self.user_id, name=name)


async def test_what_it_wrote_is_in_every_read_that_follows(backend: Backend) -> None:
    person, nobody = Person(), Person()
    for city in ("Kiel", "Bonn", "Ulm"):
        recorded = await backend.record_events([person.identified(city=city), person.did(f"Moved to {city}")])
        assert [result.reason for result in recorded.results] == ["", ""]
        profile = await backend.get_profile(person.named, "audit")
        assert c360.traits_of(profile)["city"] == city
        found = await backend.lookup_customer(person.named, "audit")
        assert found.customer_id == profile.customer_id
        page = await backend.get_timeline(person.named, "audit", kinds=["tracked"], page_size=1)
        assert page.entries[0].name == f"Moved to {city}"
    of_all = [entry.name async for entry in backend.each("timeline", person.named, "audit", kinds=["tracked"], page_size=1)]
    assert of_all == ["Moved to Ulm", "Moved to Bonn", "Moved to Kiel"]
    told, refused = await backend.batch_get_profiles([person.named, nobody.named], "audit")
    assert c360.traits_of(told)["city"] == "Ulm"
    assert (type(refused), refused.reason) == (c360.NotFound, "IDENTIFIER_UNKNOWN")
    explained = await backend.explain_trait(person.named, "city", "audit")
    assert "Ulm" in str(explained)


async def test_another_client_reads_it_by_the_positions_that_it_is_told(backend: Backend, installation: Stack, kind: Any) -> None:
    person = Person()
    await backend.record_events([person.identified(city="Kiel")])
    async with Backend(kind(settings_of(installation))) as other:
        assert c360.traits_of(await other.get_profile(person.named, "audit", fresh=backend.client.positions))["city"] == "Kiel"


async def test_a_withdrawal_is_seen_by_the_next_read_though_profiles_are_kept(
    installation: Stack, kind: Any, asking_consent: str
) -> None:
    """Also when verdicts are."""
    person, caching = Person(), c360.Caching(verdicts=100)
    async with Backend(kind(settings_of(installation, caching=caching))) as backend:
        await backend.record_events([person.identified(city="Kiel")])
        for _ in range(3):
            await backend.record_decision(person.email, asking_consent, OUTCOME_GRANTED, method="web-form")
            for _ in range(2):  # the second time from what is kept
                assert c360.traits_of(await backend.get_profile(person.named, asking_consent))["city"] == "Kiel"
                assert (await backend.check(person.named, asking_consent)).permitted
            await backend.record_decision(person.email, asking_consent, OUTCOME_WITHDRAWN, method="web-form")
            with pytest.raises(c360.NotPermitted) as refused:
                await backend.get_profile(person.named, asking_consent)
            assert refused.value.reason == "CONSENT_WITHDRAWN"
            (of_batch,) = await backend.batch_get_profiles([person.named], asking_consent)
            assert (type(of_batch), of_batch.reason) == (c360.NotPermitted, "CONSENT_WITHDRAWN")
            assert not (await backend.check(person.named, asking_consent)).permitted


async def test_a_withdrawal_that_somebody_else_recorded_is_seen_by_the_next_read(
    backend: Backend, installation: Stack, kind: Any, asking_consent: str
) -> None:
    person = Person()
    await backend.record_events([person.identified(city="Kiel")])
    await backend.record_decision(person.email, asking_consent, OUTCOME_GRANTED, method="web-form")
    await backend.get_profile(person.named, asking_consent)
    async with Backend(kind(settings_of(installation))) as other:
        await other.record_decision(person.email, asking_consent, OUTCOME_WITHDRAWN, method="web-form")
    with pytest.raises(c360.NotPermitted, match="CONSENT_WITHDRAWN"):
        await backend.get_profile(person.named, asking_consent)


async def test_it_tells_of_many_who_permits_a_purpose(backend: Backend, asking_consent: str) -> None:
    willing, unwilling, nobody = Person(), Person(), Person()
    await backend.record_events([willing.identified(), unwilling.identified()])
    await backend.record_decision(willing.email, asking_consent, OUTCOME_GRANTED, method="web-form")
    customers = [willing.named, unwilling.named] * 600  # more than a batch
    judged = [judged async for judged in backend.each("filter_audience", customers, asking_consent)]
    assert [customer for customer, _ in judged] == customers
    assert {(place % 2, one.permitted, one.reason) for place, (_, one) in enumerate(judged)} == {
        (0, True, ""),
        (1, False, "CONSENT_MISSING"),
    }
    verdicts = await backend.check_batch([willing.named, unwilling.named, c360.by_id("nobody")], asking_consent)
    assert [getattr(verdict, "permitted", type(verdict)) for verdict in verdicts] == [True, False, c360.InvalidRequest]
    assert nobody.named not in customers


async def test_errors_carry_the_reason_and_what_was_tried(backend: Backend, installation: Stack, kind: Any) -> None:
    with pytest.raises(c360.NotFound) as unknown:
        await backend.get_profile(Person().named, "audit")
    assert (unknown.value.reason, unknown.value.attempts) == ("IDENTIFIER_UNKNOWN", 1)
    with pytest.raises(c360.InvalidRequest, match="PURPOSE_UNKNOWN"):
        await backend.check(Person().named, "no-such-purpose")
    async with Backend(kind(settings_of(installation, token="nobody's"))) as stranger:
        with pytest.raises(c360.NotAuthenticated):
            await stranger.get_profile(Person().named, "audit")


async def test_a_token_that_is_refused_is_asked_for_again(installation: Stack, kind: Any) -> None:
    good = operator_token_file(installation).read_text().strip()
    tokens = iter(["expired", good])
    async with Backend(kind(settings_of(installation, token=lambda: next(tokens)))) as backend:
        with pytest.raises(c360.NotFound):
            await backend.get_profile(Person().named, "audit")


async def test_a_watch_goes_on_over_a_kill_with_what_changed_meanwhile(backend: Backend, installation: Stack) -> None:
    person = Person()
    await backend.record_events([person.identified(city="Kiel")])
    async with aclosing(backend.each("watch", person.named, "audit")) as watch, asyncio.timeout(2 * DEADLINE_S):  # type: ignore[type-var]
        assert c360.traits_of(await anext(watch))["city"] == "Kiel"
        installation.kill("profile")
        await backend.record_events([person.identified(city="Bonn")])
        async for profile in watch:
            if c360.traits_of(profile)["city"] == "Bonn":
                break


@pytest.mark.parametrize("service", ["profile", "consent", "ingest"])
async def test_calls_outlast_a_service_that_is_killed_and_started_again(
    backend: Backend, installation: Stack, asking_consent: str, service: str
) -> None:
    person = Person()
    await backend.record_events([person.identified(city="Kiel")])
    installation.kill(service)
    await backend.record_events([person.identified(city="Bonn")])
    await backend.record_decision(person.email, asking_consent, OUTCOME_GRANTED, method="web-form")
    assert c360.traits_of(await backend.get_profile(person.named, asking_consent))["city"] == "Bonn"


async def test_a_call_ends_in_its_time_while_a_service_stays_away(backend: Backend, installation: Stack) -> None:
    person = Person()
    await backend.record_events([person.identified()])
    installation.take_down("profile", signal.SIGKILL)
    try:
        began = time.monotonic()
        with pytest.raises((c360.Unavailable, c360.OutOfTime)) as refused:
            await backend.get_profile(person.named, "audit", timeout_s=SHORT_S)
        assert refused.value.attempts > 1
        assert time.monotonic() - began < SHORT_S + MUCH_LATER_S
    finally:
        installation.bring_up("profile")
        installation.wait_ready("profile")
    await backend.get_profile(person.named, "audit")


async def test_a_write_whose_answers_are_lost_has_one_effect(
    installation: Stack, kind: Any, platform: Platform, asking_consent: str
) -> None:
    person, endpoints = Person(), installation.endpoints
    async with LosesAnswers(endpoints.consent, 2) as consent, LosesAnswers(endpoints.ingest, 2) as ingest:
        addresses = c360.Addresses(endpoints.profile, consent.address, ingest.address)
        async with Backend(kind(settings_of(installation, addresses=addresses))) as backend:
            await backend.record_events([person.identified(), person.did("Ordered")])
            await backend.record_decision(person.email, asking_consent, OUTCOME_GRANTED, method="web-form")
            page = await backend.get_timeline(person.named, "audit", kinds=["tracked"])
        assert (len(consent.requests), len(ingest.requests)) == (3, 3)
    assert [entry.name for entry in page.entries] == ["Ordered"]
    ours = common_pb2.Identifier(namespace="email", value=person.email.value)
    listed = platform.consent.ListDecisions(consent_pb2.ListDecisionsRequest(identifier=ours), timeout=DEADLINE_S)
    assert [decision.purpose for decision in listed.decisions] == [asking_consent]


async def test_a_write_that_failed_tells_the_id_to_repeat_it_by(installation: Stack, kind: Any, asking_consent: str) -> None:
    person = Person()
    async with LosesAnswers(installation.endpoints.consent, 10**6) as consent:
        addresses = c360.Addresses(consent=consent.address)
        async with Backend(kind(settings_of(installation, addresses=addresses, timeout_s=SHORT_S))) as backend:
            with pytest.raises((c360.Unavailable, c360.OutOfTime)) as failed:
                await backend.record_decision(person.email, asking_consent, OUTCOME_GRANTED, method="web-form")
        sent = [consent_pb2.RecordDecisionRequest.FromString(request).request_id for request in consent.requests]
    assert set(sent) <= {failed.value.request_id}
    assert failed.value.request_id


async def test_no_more_is_kept_than_the_settings_say(installation: Stack, kind: Any) -> None:
    people = [Person() for _ in range(8)]
    async with Backend(kind(settings_of(installation, caching=c360.Caching(profiles=3)))) as backend:
        await backend.record_events([person.identified() for person in people])
        for _ in range(2):
            for person in people:
                await backend.get_profile(person.named, "audit")
        cache = backend.client._plans.profiles.cache
        assert len(cache) == 3
        await backend.close()
        assert (len(cache), cache.size_bytes) == (0, 0)


async def test_a_profile_that_is_still_the_same_is_not_sent_again(backend: Backend, installation: Stack) -> None:
    person = Person()
    await backend.record_events([person.identified(city="Kiel")])
    first = await backend.get_profile(person.named, "audit")
    call = backend.client._plans.get_profile(person.named, "audit")
    token = operator_token_file(installation).read_text().strip()
    with grpc.insecure_channel(installation.endpoints.profile) as channel:
        ask: Any = channel.unary_unary(call.method, lambda request: request.SerializeToString(), call.response.FromString)
        answer = ask(call.request, timeout=DEADLINE_S, metadata=(("authorization", f"Bearer {token}"),))
    assert answer.not_modified
    assert not answer.HasField("profile")
    assert await backend.get_profile(person.named, "audit") == first
