"""At no door of any service does anybody get something who proves nothing, or who may not: tried at every method and every path."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, Final
from uuid import uuid4

import grpc
import httpx
import jwt
import pytest
from c360.consent.v1 import registry_pb2, registry_pb2_grpc
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from starlette.routing import Route

from services.consent.http.door import REPLIES, UNSUBSCRIBE
from services.consent.http.opendsr import REQUESTS
from services.ingest.api.http import make_app
from services.profile.http.address import PARTS
from services.stack.ports import SERVICES
from services.stack.stack import Stack
from shared.events.callers import LOCAL_ISSUER
from shared.instants import now_us
from shared.local_tokens import ALGORITHM, AUDIENCE, LocalIssuer
from shared.rpc.door import method_of
from shared.rpc.methods import GROUPS, KEYED
from tests.live.served import called, methods_of, path_of
from tests.stacks import fresh_stack
from tests.waiting import eventually

ROLES: Final = {
    "read": registry_pb2.METHOD_GROUP_READ,
    "export": registry_pb2.METHOD_GROUP_EXPORT,
    "decide": registry_pb2.METHOD_GROUP_DECIDE,
    "administer": registry_pb2.METHOD_GROUP_ADMINISTER,
    "audit": registry_pb2.METHOD_GROUP_AUDIT,
}
TIMEOUT_S: Final = 30.0


class Doors:
    """A stack that lets in only who proves who they are, with a caller for each thing that one may lack."""

    def __init__(self, stack: Stack, stay: ExitStack) -> None:
        self.stack = stack
        self._issuer = LocalIssuer(stack.data_directory / "secrets")
        self.channels = {name: stay.enter_context(grpc.insecure_channel(getattr(stack.endpoints, name))) for name in SERVICES}
        for role in ROLES:
            others = [group for name, group in ROLES.items() if name != role]
            self._define(f"all_but_{role}", others, ["*"])
        self._define("one_purpose", list(ROLES.values()), ["service"])
        eventually(lambda: all(self._knows(name) for name in SERVICES))

    def token(self, subject: str) -> str:
        return self._issuer.token(subject, 600, now_us())

    def _define(self, name: str, groups: list[Any], purposes: list[str]) -> None:
        caller = registry_pb2.Caller(issuer=LOCAL_ISSUER, subject=name, groups=groups, purposes=purposes)
        definition = registry_pb2.Definition(name=name, defined_by="ops", reason="asked", caller=caller)
        registry: Any = registry_pb2_grpc.RegistryServiceStub(self.channels["consent"])
        metadata = [("authorization", f"Bearer {self.token('operator')}")]
        request = registry_pb2.DefineRequest(request_id=str(uuid4()), definition=definition)
        registry.Define(request, timeout=TIMEOUT_S, metadata=metadata, wait_for_ready=True)

    def _knows(self, service: str) -> bool:
        """The caller that was defined last."""
        method = next(one for one in methods_of(self.channels[service]) if GROUPS[path_of(one)] != KEYED)
        return called(self.channels[service], method, b"", self.token("one_purpose"))[1] != "CREDENTIAL_UNKNOWN"


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with fresh_stack(auth="jwt") as stack, ExitStack() as stay:
        yield Doors(stack, stay)


each_service = pytest.mark.parametrize("service", SERVICES)


def guarded(doors: Doors, service: str) -> list[MethodDescriptor]:
    return [one for one in methods_of(doors.channels[service]) if GROUPS[path_of(one)] != KEYED]


def refused(doors: Doors, service: str, token: str) -> dict[tuple[str, str], list[str]]:
    """What the methods that aren't opened by a write key answer."""
    answers: dict[tuple[str, str], list[str]] = {}
    for method in guarded(doors, service):
        answers.setdefault(called(doors.channels[service], method, b"", token), []).append(path_of(method))
    return answers


def test_between_them_the_services_have_every_method(doors: Doors) -> None:
    assert {path_of(one) for name in SERVICES for one in methods_of(doors.channels[name])} == set(GROUPS)


@each_service
def test_who_proves_nothing_gets_nothing(doors: Doors, service: str) -> None:
    assert refused(doors, service, "").keys() == {("UNAUTHENTICATED", "NO_CREDENTIAL")}


@each_service
def test_who_signs_for_themselves_gets_nothing(doors: Doors, service: str) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    real = doors.token("operator")
    claims = {"iss": LOCAL_ISSUER, "sub": "operator", "aud": AUDIENCE, "exp": int(time.time()) + 600}
    forged = jwt.encode(claims, own, ALGORITHM, {"kid": jwt.get_unverified_header(real)["kid"]})
    cut = real.rpartition(".")[0] + "."
    for token in (forged, cut, "x"):
        assert refused(doors, service, token).keys() == {("UNAUTHENTICATED", "CREDENTIAL_INVALID")}


@each_service
def test_whom_nobody_defined_gets_nothing(doors: Doors, service: str) -> None:
    assert refused(doors, service, doors.token("stranger")).keys() == {("UNAUTHENTICATED", "CREDENTIAL_UNKNOWN")}


@each_service
def test_who_has_every_group_but_the_right_one_gets_nothing(doors: Doors, service: str) -> None:
    for method in guarded(doors, service):
        lacking = doors.token(f"all_but_{GROUPS[path_of(method)]}")
        answer = called(doors.channels[service], method, b"", lacking)
        assert answer == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED"), path_of(method)


@each_service
def test_a_purpose_that_isnt_the_callers_is_refused_wherever_one_is_declared(doors: Doors, service: str) -> None:
    token = doors.token("one_purpose")
    for method in methods_of(doors.channels[service]):
        if method_of(path_of(method)).declares:
            request = GetMessageClass(method.input_type)(purpose="marketing").SerializeToString()
            answer = called(doors.channels[service], method, request, token)
            assert answer == ("PERMISSION_DENIED", "PURPOSE_NOT_ALLOWED"), path_of(method)


def test_without_a_write_key_nothing_is_taken_or_told(doors: Doors) -> None:
    keyed = [one for one in methods_of(doors.channels["ingest"]) if GROUPS[path_of(one)] == KEYED]
    assert keyed
    for method in keyed:
        for key in ("", "unknown", doors.token("operator")):
            answer = called(doors.channels["ingest"], method, b"", key)
            assert answer[0] == "UNAUTHENTICATED", path_of(method)


def test_ingest_takes_nothing_over_http_without_a_write_key(doors: Doors) -> None:
    app = make_app(SimpleNamespace(new_request_id=str))  # type: ignore[arg-type]
    routes = [route for route in app.routes if isinstance(route, Route)]
    tried = [(method, route.path) for route in routes for method in route.methods or () if method not in ("HEAD", "OPTIONS")]
    with httpx.Client(base_url=doors.stack.endpoints.ingest_http, timeout=TIMEOUT_S) as client:
        for method, path in tried:
            for key in (None, ("unknown", "")):
                body = b"" if method == "GET" else b'{"batch":[],"userId":"u"}'
                heads = {"content-type": "application/json"}
                answer = client.request(method, path.replace("{write_key}", "unknown"), content=body, auth=key, headers=heads)
                open_to_all = path.rstrip("/") == "/health"
                assert answer.status_code == (200 if open_to_all else 401), (method, path, answer.text)


@pytest.mark.parametrize("part", PARTS)
def test_profile_tells_nothing_over_http_without_an_access_token(doors: Doors, part: str) -> None:
    url = f"{doors.stack.endpoints.profile_http}/v1/spaces/main/collections/users/profiles/user_id:ada/{part}"
    for auth in (None, ("unknown", "")):
        answer = httpx.get(url, auth=auth, timeout=TIMEOUT_S)
        assert answer.status_code == 401, answer.text
    assert httpx.get(url, headers={"authorization": f"Bearer {doors.token('operator')}"}, timeout=TIMEOUT_S).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{UNSUBSCRIBE}x"),
        ("POST", f"{UNSUBSCRIBE}x"),
        ("POST", REPLIES),
        ("POST", REQUESTS),
        ("GET", f"{REQUESTS}/x"),
        ("GET", "/"),
    ],
)
def test_consent_takes_nothing_over_http_without_a_link_or_a_signature(doors: Doors, method: str, path: str) -> None:
    answer = httpx.request(method, doors.stack.endpoints.consent_http + path, timeout=TIMEOUT_S)
    assert answer.status_code in (401, 404), answer.text
