"""Consent: what a check takes, how soon a withdrawal holds, and what it costs a read that a person could forbid it, and that it is
written down."""

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2, registry_pb2
from c360.consent.v1.consent_pb2_grpc import ConsentServiceStub
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import profile_pb2
from c360.profile.v1.profile_pb2_grpc import ProfileServiceStub
from google.protobuf.struct_pb2 import Struct

from benchmarks.harness import Part, Result
from benchmarks.loading import Asked, load
from benchmarks.recorded_reads import recorded
from services.stack import ports
from services.stack.stack import Stack
from tests.e2e.client import DEADLINE_S, Platform, by_identifier

SERVICES: Final = ports.SERVICES
CHECK: Final = "/c360.consent.v1.ConsentService/Check"
GET_PROFILE: Final = "/c360.profile.v1.ProfileService/GetProfile"
PERSON: Final = "fifty-traits"
TRAITS: Final = 50
ROUNDS: Final = 9
LOAD_S: Final = 1.5
P99_RATES: Final = (100, 500)  # checks a second
P99_CALLS, P99_ROUNDS = 1_000, 5  # of 150 calls the slowest hundredth is two, and four are the first of their connection
CALLERS: Final = (1, 4)  # each asks again when it was answered
CALLS: Final = 1_000  # of all callers
WITHDRAWALS: Final = 200
CONSENTED, BY_LAW = "by_consent", "by_law"


async def measure(stack: Stack) -> list[Result]:
    results = []
    await asyncio.to_thread(_fifty_traits, stack)
    for part in (_checks(stack), _withdrawals(stack), _filtered(stack), recorded(_read_by_consent)):
        async for result in part:
            print(f"  {result.name} {result.value:.5g} {result.unit}", flush=True)
            results.append(result)
    return results


def _fifty_traits(stack: Stack) -> None:
    """Of somebody who granted one purpose; the other needs nobody's consent. Both see all of them."""
    with Platform(stack.endpoints) as platform:
        for name, basis, despite in (
            (CONSENTED, registry_pb2.LEGAL_BASIS_CONSENT, []),
            (BY_LAW, registry_pb2.LEGAL_BASIS_CONTRACT, [registry_pb2.RESTRICTION_EXCEPTION_LEGAL_CLAIMS]),
        ):
            purpose = registry_pb2.Purpose(description="x", legal_basis=basis, traits=["*"], despite_restriction=despite)
            definition = registry_pb2.Definition(name=name, defined_by="bench", reason="to be measured", purpose=purpose)
            platform.registry.Define(registry_pb2.DefineRequest(request_id=name, definition=definition), timeout=DEADLINE_S)
        platform.decide(_identifier(), CONSENTED, consent_pb2.OUTCOME_GRANTED)
        traits = Struct()
        traits.update({f"trait_{number}": f"a value of some length, the {number}th" for number in range(TRAITS)})
        event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=PERSON, traits=traits, message_id=PERSON)
        position = platform.record(stack.write_key(), event).position
        for purpose_name in (CONSENTED, BY_LAW):
            found = platform.get_profile(by_identifier("user_id", PERSON), purpose_name, position)
            assert len(found.traits) == TRAITS


def _identifier() -> Identifier:
    return Identifier(namespace="user_id", value=PERSON)


async def _checks(stack: Stack) -> AsyncIterator[Result]:
    request = consent_pb2.CheckRequest(purpose=CONSENTED, customer=by_identifier("user_id", PERSON))
    asked = Asked(stack.endpoints.consent, CHECK, request, _pid(stack, "consent"))
    await load(asked, LOAD_S)
    closed = [await load(asked, LOAD_S) for _ in range(ROUNDS)]
    yield _median("checks", [one.calls_per_s for one in closed], "calls/s")
    yield _median("checks, CPU of a call", [one.cpu_us for one in closed], "us")
    for rate in P99_RATES:
        p99 = [(await load(asked, P99_CALLS / rate, rate)).p99_ms for _ in range(P99_ROUNDS)]
        yield _median(f"check p99, {rate} a second", p99, "ms", 5)
    async with grpc.aio.insecure_channel(stack.endpoints.consent) as channel:
        for callers in CALLERS:
            yield await _asked_by(ConsentServiceStub(channel), request, callers)


async def _asked_by(consent: Any, request: consent_pb2.CheckRequest, callers: int) -> Result:
    samples: list[float] = []

    async def ask() -> None:
        for _ in range(CALLS // callers):
            began = time.perf_counter()
            await consent.Check(request, timeout=DEADLINE_S)
            samples.append((time.perf_counter() - began) * 1_000)

    await asyncio.gather(*(ask() for _ in range(callers)))
    return _percentile(f"check p99, {callers} {'caller' if callers == 1 else 'callers'}", samples, 99, 5)


async def _withdrawals(stack: Stack) -> AsyncIterator[Result]:
    """From the withdrawal's first byte until its answer, which waits for every reader, while others read; no read after it is permitted."""
    answered, late = [], 0
    async with (
        grpc.aio.insecure_channel(stack.endpoints.consent) as channel,
        grpc.aio.insecure_channel(stack.endpoints.profile) as reads,
    ):
        consent, profiles = ConsentServiceStub(channel), ProfileServiceStub(reads)
        for _ in range(WITHDRAWALS):
            await _decide(consent, consent_pb2.OUTCOME_GRANTED)
            assert await _is_read(profiles)
            began = time.perf_counter()
            await _decide(consent, consent_pb2.OUTCOME_WITHDRAWN)
            answered.append((time.perf_counter() - began) * 1_000)
            late += await _is_read(profiles)
        await _decide(consent, consent_pb2.OUTCOME_GRANTED)
    yield _percentile("withdrawn until enforced p99", answered, 99, 1_000)
    yield Result(name="reads after it", value=late, unit="reads", target="<= 0 reads", met=late == 0)


async def _decide(consent: Any, outcome: consent_pb2.Outcome.ValueType) -> None:
    request = consent_pb2.RecordDecisionRequest(
        request_id=str(uuid.uuid4()), identifier=_identifier(), purpose=CONSENTED, outcome=outcome, method="web-form"
    )
    await consent.RecordDecision(request, timeout=DEADLINE_S)


async def _is_read(profiles: Any) -> bool:
    request = profile_pb2.GetProfileRequest(customer=by_identifier("user_id", PERSON), purpose=CONSENTED)
    call = profiles.GetProfile(request, timeout=DEADLINE_S)
    code = await call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED), code
    return bool(code == grpc.StatusCode.OK)


async def _filtered(stack: Stack) -> AsyncIterator[Result]:
    """The same bytes for a purpose that a person can forbid and for one that nobody can."""
    cpu = Part("us", ROUNDS)
    asked = {name: _read(stack, name) for name in (BY_LAW, CONSENTED)}

    async def cpu_of(name: str) -> float:
        return (await load(asked[name], LOAD_S)).cpu_us

    for name in asked:
        await cpu_of(name)
    await cpu.run(**{name: (lambda name=name: cpu_of(name)) for name in asked})
    yield cpu.result(BY_LAW)
    result = cpu.result(CONSENTED, BY_LAW)
    result.target, result.met = "ratio <= 1.15", (result.ratio or 0) <= 1.15
    yield result


def _read(stack: Stack, purpose: str) -> Asked:
    request = profile_pb2.GetProfileRequest(customer=by_identifier("user_id", PERSON), purpose=purpose)
    return Asked(stack.endpoints.profile, GET_PROFILE, request, _pid(stack, "profile"))


def _read_by_consent(stack: Stack) -> Asked:
    _fifty_traits(stack)
    return _read(stack, CONSENTED)


def _pid(stack: Stack, service: str) -> int:
    pid = stack.pid(service)
    assert pid is not None
    return pid


def _median(name: str, samples: list[float], unit: str, limit: float | None = None) -> Result:
    result = Result(name=name, value=statistics.median(samples), unit=unit, samples=samples)
    if limit is not None:
        result.target, result.met = f"<= {limit:g} {unit}", result.value <= limit
    return result


def _percentile(name: str, samples: list[float], percent: int, limit_ms: float) -> Result:
    value = statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]
    spread = [min(samples), statistics.median(samples), max(samples)]
    return Result(name=name, value=value, unit="ms", target=f"<= {limit_ms:g} ms", met=value <= limit_ms, samples=spread)
