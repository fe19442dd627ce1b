"""The registry through its real wiring: what is defined is in force, stays known, and is what people are said to have been shown."""

import hashlib
import time
from typing import Any
from uuid import uuid4

import pytest
from c360.consent.v1 import consent_pb2
from c360.consent.v1 import registry_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from shared.instants import from_timestamp, now_us, to_timestamp
from tests.live.consent_shop import DEADLINE_S, Shop, an_email, refusal

PURPOSE, CONTROLLER, NOTICE = pb.DEFINITION_KIND_PURPOSE, pb.DEFINITION_KIND_CONTROLLER, pb.DEFINITION_KIND_NOTICE
A_PURPOSE: dict[str, Any] = {"legal_basis": pb.LEGAL_BASIS_CONSENT, "traits": ["email"]}
FUTURE = Timestamp(seconds=int(time.time()) + 3600)


async def define(
    shop: Shop, name: str, in_force: Timestamp | None = None, request_id: str = "", **content: Any
) -> pb.DefineResponse:
    definition = pb.Definition(name=name, defined_by="ops", reason="asked", in_force_time=in_force, **content)
    answer: pb.DefineResponse = await shop.registry.Define(
        pb.DefineRequest(request_id=request_id or str(uuid4()), definition=definition), timeout=DEADLINE_S
    )
    return answer


async def version_at(shop: Shop, kind: pb.DefinitionKind.ValueType, name: str, **which: Any) -> pb.Definition:
    request = pb.GetVersionAtRequest(kind=kind, name=name, **which)
    answer: pb.GetVersionAtResponse = await shop.registry.GetVersionAt(request, timeout=DEADLINE_S)
    return answer.definition


async def listed(shop: Shop, kind: pb.DefinitionKind.ValueType, page_size: int) -> list[pb.Definition]:
    request, found = pb.ListDefinitionsRequest(kind=kind, page_size=page_size), []
    while True:
        page = await shop.registry.ListDefinitions(request, timeout=DEADLINE_S)
        found += page.definitions
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def test_a_shop_has_purposes_a_controller_and_notices_from_the_start(shop: Shop) -> None:
    ready = {one.name: one.purpose for one in await listed(shop, PURPOSE, 100) if one.version == 1}
    assert {name: ready[name].legal_basis for name in ("service", "marketing", "analytics", "audit")} == {
        "service": pb.LEGAL_BASIS_CONTRACT,
        "marketing": pb.LEGAL_BASIS_CONSENT,
        "analytics": pb.LEGAL_BASIS_LEGITIMATE_INTEREST,
        "audit": pb.LEGAL_BASIS_LEGAL_OBLIGATION,
    }
    assert {purpose.controller for purpose in ready.values() if purpose.controller} == {"operator"}
    assert {text.locale for text in (await version_at(shop, NOTICE, "privacy")).notice.texts} == {"en", "de"}


async def test_a_purpose_is_defined_and_defined_anew(shop: Shop) -> None:
    name, request_id = f"offers_{uuid4().hex}", str(uuid4())
    first = await define(shop, name, request_id=request_id, purpose=pb.Purpose(**A_PURPOSE))
    second = await define(shop, name, purpose=pb.Purpose(**(A_PURPOSE | {"traits": ["email", "phone"]})))
    assert (first.definition.version, second.definition.version) == (1, 2)
    assert second.position.number == first.position.number + 1
    pages = await listed(shop, PURPOSE, 2)
    assert [one for one in pages if one.name == name] == [second.definition]
    assert [one.name for one in pages] == sorted(one.name for one in pages)
    assert await define(shop, name, request_id=request_id, purpose=pb.Purpose(**A_PURPOSE)) == first
    other = define(shop, name, request_id=request_id, purpose=pb.Purpose(**(A_PURPOSE | {"traits": ["phone"]})))
    assert await refusal(other) == ("ABORTED", "REQUEST_ID_REUSED")


async def test_the_version_in_force_at_an_instant_is_told_as_known_then_and_as_known_now(shop: Shop) -> None:
    name, began = f"shop_{uuid4().hex}", now_us()
    starts = [began - 9_000_000, began - 5_000_000, None, None]
    answers: list[tuple[dict[str, Any], pb.Definition]] = []
    stored: list[pb.Definition] = []
    for number, start in enumerate(starts):
        controller = pb.Controller(legal_name=f"Shop {number}")
        in_force = None if start is None else to_timestamp(start)
        stored.append((await define(shop, name, in_force, controller=controller)).definition)
        for ago in (6_000_000, 2_000_000, 0):
            which = {"valid_at": to_timestamp(began - ago), "known_at": stored[-1].record_time}
            answers.append((which, await version_at(shop, CONTROLLER, name, **which)))
    assert [one.version for one in stored] == [1, 2, 3, 4]
    assert [one.version for _, one in answers] == [1, 1, 1, *(1, 2, 2) * 3]
    for which, told in answers:
        assert await version_at(shop, CONTROLLER, name, **which) == told
    for one in stored:
        assert await version_at(shop, CONTROLLER, name, valid_at=one.in_force_time) == one
        assert await version_at(shop, CONTROLLER, name, version=one.version) == one
    assert await version_at(shop, CONTROLLER, name) == stored[-1]
    before: list[dict[str, Any]] = [{"known_at": to_timestamp(from_timestamp(stored[0].record_time) - 1)}]
    for which in (*before, {"valid_at": to_timestamp(began - 10_000_000)}, {"version": 5}, {"version": 2**32 - 1}):
        assert await refusal(version_at(shop, CONTROLLER, name, **which)) == ("NOT_FOUND", "DEFINITION_UNKNOWN")


async def test_the_versions_of_one_are_listed_with_what_each_changed(shop: Shop) -> None:
    name = f"offers_{uuid4().hex}"
    for traits in (["email"], ["email", "plan"], ["plan"]):
        await define(shop, name, purpose=pb.Purpose(**(A_PURPOSE | {"traits": traits})))
    request, found = pb.ListVersionsRequest(kind=PURPOSE, name=name, page_size=2), []
    while True:
        page = await shop.registry.ListVersions(request, timeout=DEADLINE_S)
        found += page.versions
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    told = [(one.definition.version, {d.field: (list(d.removed), list(d.added)) for d in one.differences}) for one in found]
    assert told == [
        (3, {"traits": (["email"], [])}),
        (2, {"traits": ([], ["plan"])}),
        (1, {"legal_basis": ([], ["consent"]), "traits": ([], ["email"]), "scope": ([], ["person"])}),
    ]


async def test_a_page_of_long_notices_ends_where_a_message_would_be_too_large(shop: Shop) -> None:
    name = f"long_{uuid4().hex}"
    for letter in "abc":
        text = pb.NoticeText(locale="en", text=letter * 400_000)
        await define(shop, name, notice=pb.Notice(purposes=["marketing"], texts=[text]))
    request = pb.ListVersionsRequest(kind=NOTICE, name=name)
    first = await shop.registry.ListVersions(request, timeout=DEADLINE_S)
    request.page_token = first.next_page_token
    second = await shop.registry.ListVersions(request, timeout=DEADLINE_S)
    assert [one.definition.version for one in (*first.versions, *second.versions)] == [3, 2, 1]
    assert (len(first.versions), second.next_page_token) == (2, "")
    assert [(one.field, len(one.removed), len(one.added)) for one in first.versions[1].differences] == [("texts", 1, 1)]
    assert (await version_at(shop, NOTICE, name)).notice.texts[0].text == "c" * 400_000


async def test_a_decision_names_the_text_that_was_shown(shop: Shop) -> None:
    anna, name, text = an_email(), f"asking_{uuid4().hex}", "Ja, schickt mir Angebote."
    notice = pb.Notice(purposes=["marketing"], controller="operator", texts=[pb.NoticeText(locale="de", text=text)])
    shown = consent_pb2.NoticeShown(name=name, version=1, locale="de")
    unknown = shop.decide(anna, "marketing", consent_pb2.OUTCOME_GRANTED, notice=shown)
    assert await refusal(unknown) == ("INVALID_ARGUMENT", "NOTICE_UNKNOWN")
    await define(shop, name, notice=notice)
    await shop.decide(anna, "marketing", consent_pb2.OUTCOME_GRANTED, notice=shown)
    [decision] = await shop.decisions(anna)
    [kept] = (await version_at(shop, NOTICE, name, version=1)).notice.texts
    assert (kept.text, kept.sha256) == (text, hashlib.sha256(text.encode()).hexdigest())
    shown.sha256 = kept.sha256
    assert decision.notice == shown
    of_another = shop.decide(anna, "analytics", consent_pb2.OUTCOME_OBJECTED, notice=shown)
    assert await refusal(of_another) == ("INVALID_ARGUMENT", "NOTICE_NOT_SHOWN")


async def test_what_a_purpose_asks_of_a_grant_is_asked_from_its_version_on(shop: Shop) -> None:
    anna, name = an_email(), f"offers_{uuid4().hex}"
    await define(shop, name, purpose=pb.Purpose(**A_PURPOSE))
    await shop.decide(anna, name, consent_pb2.OUTCOME_GRANTED)
    assert (await shop.check(name, identifier=anna)).permitted
    before = to_timestamp(now_us())
    await define(shop, name, purpose=pb.Purpose(**A_PURPOSE, double_opt_in=True, minimum_age=16))
    assert (await shop.check(name, identifier=anna)).reason == "CONSENT_UNCONFIRMED"
    await shop.decide(anna, name, consent_pb2.OUTCOME_GRANTED, confirmed=True, attested_age=15)
    assert (await shop.check(name, identifier=anna)).reason == "AGE_NOT_ATTESTED"
    await shop.decide(anna, name, consent_pb2.OUTCOME_GRANTED, confirmed=True, attested_age=16)
    assert (await shop.check(name, identifier=anna)).reason == "CONSENT_GRANTED"
    assert [one.purpose_version for one in await shop.decisions(anna)] == [1, 2, 2]
    request = consent_pb2.CheckRequest(purpose=name, known_at=before)
    request.customer.identifier.CopyFrom(anna)
    then = await shop.calls.Check(request, timeout=DEADLINE_S)
    assert (then.permitted, then.purpose_version) == (True, 1)


async def test_a_caller_is_defined_in_versions_and_no_other_has_its_credential(shop: Shop) -> None:
    name, other = (f"caller_{uuid4().hex}" for _ in range(2))
    caller = pb.Caller(
        issuer="https://id.example", subject=name, purposes=["marketing"], groups=[pb.METHOD_GROUP_READ], calls_per_s=5
    )
    assert (await define(shop, name, caller=caller)).definition.caller == caller
    caller.groups.append(pb.METHOD_GROUP_EXPORT)
    await define(shop, name, caller=caller)
    versions = await shop.registry.ListVersions(
        pb.ListVersionsRequest(kind=pb.DEFINITION_KIND_CALLER, name=name), timeout=DEADLINE_S
    )
    changed = [(one.field, list(one.added)) for one in versions.versions[0].differences]
    assert changed == [("groups", ["export"])]
    assert await refusal(define(shop, other, caller=caller)) == ("ALREADY_EXISTS", "CREDENTIAL_TAKEN")


def definition(purpose: dict[str, Any], request_id: str = "bad", **changes: Any) -> pb.DefineRequest:
    fields: dict[str, Any] = {
        "name": "offers",
        "defined_by": "ops",
        "reason": "asked",
        "purpose": pb.Purpose(**(A_PURPOSE | purpose)),
    }
    if "caller" in changes:
        del fields["purpose"]
    return pb.DefineRequest(request_id=request_id, definition=pb.Definition(**(fields | changes)))


BAD_INPUT = [
    ("Define", definition({}, request_id=""), "REQUEST_ID_MISSING"),
    ("Define", pb.DefineRequest(request_id="bad"), "DEFINITION_MISSING"),
    ("Define", definition({}, name="Offers!"), "PURPOSE_INVALID"),
    ("Define", definition({}, reason=""), "REASON_INVALID"),
    ("Define", definition({"traits": [""]}), "PURPOSE_INVALID"),
    ("Define", definition({"legal_basis": pb.LEGAL_BASIS_UNSPECIFIED}), "LEGAL_BASIS_MISSING"),
    ("Define", definition({"legal_basis": 99}), "LEGAL_BASIS_MISSING"),
    ("Define", definition({"legal_bases": {"DE": 99}}), "LEGAL_BASIS_MISSING"),
    ("Define", definition({"minimum_age": 2**32 - 1}), "PURPOSE_INVALID"),
    ("Define", definition({"controller": "a\0b"}), "CONTROLLER_UNKNOWN"),
    ("Define", definition({}, caller=pb.Caller(subject="mailer")), "CALLER_INVALID"),
    ("Define", definition({}, caller=pb.Caller(groups=[pb.METHOD_GROUP_UNSPECIFIED])), "CALLER_INVALID"),
    ("Define", definition({}, caller=pb.Caller(purposes=["nothing_like_it"])), "PURPOSE_UNKNOWN"),
    ("Define", definition({}, in_force_time=FUTURE), "INSTANT_IN_FUTURE"),
    ("GetVersionAt", pb.GetVersionAtRequest(name="service"), "KIND_MISSING"),
    ("GetVersionAt", pb.GetVersionAtRequest(kind=PURPOSE, name="service", valid_at=FUTURE), "INSTANT_IN_FUTURE"),
    ("GetVersionAt", pb.GetVersionAtRequest(kind=PURPOSE, name="service", valid_at=FUTURE, version=1), "VERSION_OR_INSTANT"),
    ("GetVersionAt", pb.GetVersionAtRequest(kind=PURPOSE, name="a\0b"), "DEFINITION_UNKNOWN"),
    ("ListDefinitions", pb.ListDefinitionsRequest(), "KIND_MISSING"),
    ("ListDefinitions", pb.ListDefinitionsRequest(kind=PURPOSE, page_token="?"), "PAGE_TOKEN_INVALID"),
    ("ListVersions", pb.ListVersionsRequest(kind=PURPOSE, name="a\0b"), "DEFINITION_UNKNOWN"),
    ("ListVersions", pb.ListVersionsRequest(kind=PURPOSE, name="service", page_token="kgA="), "PAGE_TOKEN_INVALID"),
]


@pytest.mark.parametrize(
    ("method", "request_", "reason"), BAD_INPUT, ids=[f"{row[0]}-{row[2]}-{n}" for n, row in enumerate(BAD_INPUT)]
)
async def test_bad_input_is_refused_with_its_reason(shop: Shop, method: str, request_: Any, reason: str) -> None:
    status = "NOT_FOUND" if reason == "DEFINITION_UNKNOWN" else "INVALID_ARGUMENT"
    assert await refusal(getattr(shop.registry, method)(request_, timeout=DEADLINE_S)) == (status, reason)
