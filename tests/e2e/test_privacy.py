"""Personal data is readable for those who may read it, and nowhere else: a search for canaries finds nothing."""

import random
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import grpc
import httpx
import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2
from c360.ingest.v1 import ingest_pb2
from c360.profile.v1 import profile_pb2
from google.protobuf.struct_pb2 import Struct

from services.stack.stack import Stack
from tests.e2e.cast import segment_sdk
from tests.e2e.client import Platform, by_identifier
from tests.e2e.leaks import places_of

RUN = uuid.uuid4().hex[:12]
PHONE = f"+447700900{random.randrange(1000):03}"  # set aside for fiction
CANARIES = {
    what: f"canary-{what}-{RUN}"
    for what in (
        "user",
        "device",
        "name",
        "trait",
        "nested",
        "property",
        "page",
        "event",
        "context",
        "group",
        "previous",
        "external",
    )
} | {"email": f"canary-email-{RUN}@example.com", "phone": PHONE}
REJECTED = f"canary-rejected-{RUN}"
ASKED_FOR = f"canary-asked-{RUN}"
REFUSED = f"canary-refused-{RUN}"


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as made:
        yield made


@pytest.fixture(scope="module")
def profile(platform: Platform) -> profile_pb2.Profile:
    """Of a person about whom every field that may be personal holds a canary; sent and read in every way there is."""
    key = platform.register_source(f"privacy-{RUN}")
    _send_by_sdk(platform, key)
    _send_by_grpc(platform, key)
    _send_what_is_refused(platform, key)
    person = by_identifier("email", CANARIES["email"])
    found = platform.get_profile(person, "audit", platform.newest_position(key))
    platform.get_profile(person, "audit", known_at=datetime.now(UTC))
    platform.get_timeline(person, "audit")
    platform.decide(Identifier(namespace="email", value=CANARIES["email"]), "marketing", consent_pb2.OUTCOME_GRANTED)
    _ask_what_is_refused(platform)
    return found


def _send_by_sdk(platform: Platform, key: str) -> None:
    traits = {"email": CANARIES["email"], "phone": PHONE, "name": CANARIES["name"], "address": {"street": CANARIES["nested"]}}
    with segment_sdk(platform, key) as sdk:
        sdk.identify(CANARIES["user"], traits, context={"ip": CANARIES["context"]}, anonymous_id=CANARIES["device"])
        sdk.track(CANARIES["user"], CANARIES["event"], {"note": CANARIES["property"]})
        sdk.page(CANARIES["user"], CANARIES["page"], CANARIES["page"])
        sdk.group(CANARIES["user"], CANARIES["group"], {"name": CANARIES["name"]})
        sdk.alias(CANARIES["previous"], CANARIES["user"])


def _send_by_grpc(platform: Platform, key: str) -> None:
    traits = Struct()
    traits.update({"hobby": CANARIES["trait"]})
    external = Identifier(namespace="loyalty_card", value=CANARIES["external"])
    platform.record(
        key,
        ingest_pb2.Event(
            type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=CANARIES["user"], traits=traits, external_ids=[external], message_id=RUN
        ),
    )


def _send_what_is_refused(platform: Platform, key: str) -> None:
    with httpx.Client(base_url=platform.url, auth=(key, "")) as door:
        door.post("/v1/track", json={"event": REJECTED, "properties": {"email": REJECTED}})
        door.post("/v1/track", json={"userId": REJECTED, "event": "Seen", "properties": REJECTED})
        door.post("/v1/identify", content=f'{{"userId": "{REJECTED}"'.encode())
        door.post(f"/v1/{REJECTED}?email={REJECTED}", json={})


def _ask_what_is_refused(platform: Platform) -> None:
    for namespace, purpose in (("email", "service"), ("phone", "service"), ("user_id", "service"), ("user_id", ASKED_FOR)):
        with suppress(grpc.RpcError):
            platform.get_profile(by_identifier(namespace, ASKED_FOR), purpose)
    with suppress(grpc.RpcError):
        platform.resolve("email", ASKED_FOR)
    with suppress(grpc.RpcError):
        platform.decide(Identifier(namespace="email", value=ASKED_FOR), ASKED_FOR, consent_pb2.OUTCOME_GRANTED)


def _answers(stack: Stack, key: str) -> Iterator[str]:
    """Of every door, what it says to who asks for somebody, or says something, in a way that is refused."""
    doors: list[tuple[str, str, str]] = [
        (stack.endpoints.ingest_http, "/v1/track", f'{{"event": "{REFUSED}", "properties": {{"email": "{REFUSED}"}}}}'),
        (stack.endpoints.ingest_http, "/v1/identify", f'{{"userId": "{REFUSED}"'),
        (stack.endpoints.ingest_http, f"/v1/{REFUSED}?email={REFUSED}", "{}"),
        (stack.endpoints.consent_http, f"/u/{REFUSED}", "List-Unsubscribe=One-Click"),
        (stack.endpoints.consent_http, "/replies/sms", f'{{"From": "{REFUSED}", "Body": "{REFUSED}"}}'),
        (stack.endpoints.consent_http, f"/v2/requests/{REFUSED}", REFUSED),
        (stack.endpoints.consent_http, f"/{REFUSED}", REFUSED),
    ]
    for url, path, body in doors:
        yield _said(httpx.post(url + path, content=body.encode(), auth=(key, ""), headers={"content-type": "application/json"}))
    for path in (f"email:{REFUSED}/traits", f"{REFUSED}/traits", f"user_id:{REFUSED}/{REFUSED}"):
        address = f"{stack.endpoints.profile_http}/v1/spaces/main/collections/users/profiles/{path}"
        for auth in (("", ""), (REFUSED, "")):
            yield _said(httpx.get(address, params={"limit": REFUSED}, auth=auth))
    with Platform(stack.endpoints) as platform:
        person = Identifier(namespace="email", value=REFUSED)
        for call in (
            lambda: platform.get_profile(by_identifier("email", REFUSED), "service"),
            lambda: platform.get_profile(by_identifier("user_id", REFUSED), REFUSED),
            lambda: platform.get_profile(by_identifier(REFUSED, REFUSED), "audit"),
            lambda: platform.resolve("email", REFUSED),
            lambda: platform.decide(person, REFUSED, consent_pb2.OUTCOME_GRANTED),
            lambda: platform.decide(person, "marketing", consent_pb2.OUTCOME_GRANTED),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            yield str(refused.value)


def _said(answer: httpx.Response) -> str:
    assert answer.status_code >= 400
    return f"{answer.headers} {answer.text}"


def test_a_refusal_tells_nothing_back(profile: profile_pb2.Profile, stack: Stack) -> None:
    assert [told for told in _answers(stack, stack.write_key()) if REFUSED in told] == []


def test_those_who_may_read_it_can(profile: profile_pb2.Profile, platform: Platform) -> None:
    shown = str(profile) + str(platform.get_timeline(by_identifier("email", CANARIES["email"]), "audit"))
    hidden = {"context", "group", "previous"}  # kept with the event, in no answer yet
    assert [what for what, canary in CANARIES.items() if canary not in shown and what not in hidden] == []


def test_nobody_else_finds_it(profile: profile_pb2.Profile, stack: Stack) -> None:
    assert places_of(stack, [*CANARIES.values(), PHONE.removeprefix("+44"), REJECTED, ASKED_FOR, REFUSED]) == []


def test_the_search_finds_what_is_there(profile: profile_pb2.Profile, stack: Stack) -> None:
    places = "\n".join(places_of(stack, [f"privacy-{RUN}"]))
    for kind in ("metrics of ingest", "table c360.ingest.sources", "table c360.profile.events", "file postgres", "file nats"):
        assert kind in places


def test_a_purpose_sees_in_the_timeline_only_the_traits_that_it_sees_in_the_profile(
    profile: profile_pb2.Profile, platform: Platform
) -> None:
    person = by_identifier("email", CANARIES["email"])
    platform.get_profile(person, "service")
    shown = str(platform.get_timeline(person, "service", kinds=("identified", "linked")))
    assert CANARIES["name"] in shown
    assert CANARIES["trait"] not in shown
    assert CANARIES["external"] not in shown
