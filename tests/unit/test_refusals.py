"""Refusals that no story of another test comes by: each with its reason, where it is decided."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import msgspec
import pytest
from c360.common.v1.common_pb2 import Position
from c360.consent.v1 import evidence_pb2
from c360.parked.v1 import parked_pb2
from c360.profile.v1 import export_pb2, history_pb2, profile_pb2, rules_pb2, segment_pb2
from google.protobuf.duration_pb2 import Duration

from services.consent.api import audiences
from services.consent.api.evidence import EvidenceApi
from services.consent.domain import definitions, receipts, receiving, rights
from services.consent.domain.callers import check_override
from services.consent.domain.confirming import Confirm, RequestConfirmation, confirmation, hash_of
from services.consent.domain.guardians import check_guardian
from services.consent.domain.ledger import RecordDecision
from services.consent.domain.rights_commands import Acknowledge, Begin, CheckIdentity, Receive, Refuse
from services.consent.http.opendsr_file import OpenDsrFile, Processor
from services.consent.rights import MOST_STEPS, check_room
from services.consent.views import MOST_DECISIONS_LISTED, Decisions
from services.profile.api.export import ExportApi
from services.profile.api.history import HistoryApi
from services.profile.api.rules import ProfileRulesApi
from services.profile.api.segment_sizes import steps_of
from services.profile.api.segments import SegmentApi
from services.profile.api.timeline import CHOICES_AT_MOST, timeline_filter
from services.profile.changes import CHECKED_AT_MOST, Changes
from services.profile.explaining import Explaining
from services.profile.http.address import target_of
from services.profile.http.door import ProfileDoor
from services.profile.replay import MOST_EVENTS, Replayer
from shared import access_tokens
from shared.access_tokens import TokenFile
from shared.errors import CustomerError
from shared.events.callers import OverrideDefined
from shared.events.consent import DecisionRecorded, KnownAge, ParentalAuthorisation, PurposeDefined
from shared.instants import DAY
from shared.rpc.edge import POSITIONS_AT_MOST, freshness
from shared.rpc.log import LOG_KEY, LogApi
from shared.rpc.paging import PAGE_MAX
from shared.rpc.parked import ParkedApi

HASH = b"i" * 16
SAID: dict[str, Any] = {"by": "desk", "reason": "asked"}
NOTHING: Any = None  # what isn't asked before the refusal
TODAY = rights.Today(date(2026, 3, 5), date(2026, 3, 5))


def reason_of(call: Callable[[], Any]) -> str:
    """Of what is refused, also by a coroutine."""
    try:
        if isinstance(found := call(), Awaitable):
            asyncio.run(_awaited(found))
    except CustomerError as refused:
        return refused.reason
    return ""


async def _awaited(found: Awaitable[Any]) -> None:
    await found


def bare(kind: Any, **parts: Any) -> Any:
    """One whose parts are never asked, but for those."""
    made = kind.__new__(kind)
    vars(made).update(parts)
    return made


def a_decision(**said: Any) -> DecisionRecorded:
    fields: dict[str, Any] = {"outcome": "granted", "decided_at": 100, "method": "form", "purpose_version": 1}
    fields |= {"request_id": "d", "decision_id": HASH, "identifier_hash": HASH, "namespace": "email", "purpose": "offers"}
    return DecisionRecorded(**(fields | said))


def wanted() -> RecordDecision:
    return RecordDecision(request_id="r", identifier_hash=HASH, namespace="email", purpose="offers", outcome="granted")


def confirmed_at(instant: int) -> Any:
    waiting = a_decision(confirm_by=200, token_sha256=hash_of("token"))
    return confirmation(waiting, [], -1, Confirm(request_id="c", token="token", confirmed_at=instant), 1_000)


@pytest.mark.parametrize(
    ("theirs", "known_at", "reason"),
    [
        ((HASH, b"g" * 16), [], "GUARDIAN_IS_THE_PERSON"),
        ((HASH,), [-DAY], "GUARDIAN_IS_A_MINOR"),
        ((HASH,), [-4 * 366 * DAY], ""),  # grown up since
        ((HASH,), [], ""),
    ],
)
def test_a_guardian_who_may_not_be_one(theirs: tuple[bytes, ...], known_at: list[int], reason: str) -> None:
    purpose = PurposeDefined(
        request_id="p", name="offers", version=1, description="", legal_basis="consent", traits=(), minors_under=16
    )
    mother = ParentalAuthorisation(guardian_hash=b"g" * 16, verified_by="signed form")
    age = KnownAge(under=16, at_least=13, **SAID)
    said = [a_decision(outcome="age_known", age=age, decided_at=100 + at) for at in known_at]
    assert reason_of(lambda: check_guardian(purpose, a_decision(authorised=mother), theirs, said)) == reason
    self_made = msgspec.structs.replace(mother, guardian_hash=HASH)
    assert reason_of(lambda: check_guardian(purpose, a_decision(authorised=self_made), (), ())) == "GUARDIAN_IS_THE_PERSON"


@pytest.mark.parametrize(
    ("reason", "call"),
    [
        ("WAIT_INVALID", lambda: RequestConfirmation(decision=wanted(), wait_days=0)),
        ("CONFIRMATION_TOO_EARLY", lambda: confirmed_at(99)),
        ("CONFIRMATION_LAPSED", lambda: confirmed_at(201)),
        ("", lambda: confirmed_at(200)),
    ],
)
def test_a_confirmation_in_its_time(reason: str, call: Callable[[], Any]) -> None:
    assert reason_of(call) == reason


def request_after(*commands: Any) -> rights.RightsRequest:
    asked = Receive(request_id="o", identifier_hash=HASH, namespace="email", right="access", law="ccpa", **SAID)
    request = rights.fold([rights.receive(asked, b"", TODAY)])
    for command in commands:
        request = rights.evolve(request, rights.decide(request, command, TODAY))
    return request


def test_a_receipt_of_a_request_is_told_once() -> None:
    told = Acknowledge(request_id="a", **SAID)
    assert reason_of(lambda: rights.decide(request_after(told), told, TODAY)) == "ALREADY_ACKNOWLEDGED"


def test_who_was_proven_to_be_herself_isnt_refused_as_nobody() -> None:
    checked = CheckIdentity(request_id="i", passed=True, method="signed-in", **SAID)
    refuse = Refuse(request_id="r", ground="identity_not_proven", **SAID)
    assert reason_of(lambda: rights.decide(request_after(checked), refuse, TODAY)) == "GROUND_DOES_NOT_FIT"
    assert reason_of(lambda: rights.decide(request_after(), Begin(request_id="b", **SAID), TODAY)) == "IDENTITY_NOT_CHECKED"


def test_a_request_has_room_for_so_many_steps() -> None:
    steps: list[Any] = [None] * MOST_STEPS
    assert reason_of(lambda: check_room(steps)) == "TOO_MANY_STEPS"
    assert reason_of(lambda: check_room(steps[1:])) == ""


@pytest.mark.parametrize("form", [receipts.kantara, receipts.iso_27560])
def test_an_objection_has_no_receipt(form: Callable[[Any], Any]) -> None:
    evidence: Any = SimpleNamespace(decision=a_decision(outcome="objected"), purpose=None)
    assert reason_of(lambda: form(evidence)) == "NO_RECEIPT"


def test_what_nobody_defined_is_told_by_its_kind() -> None:
    assert {definitions.unknown(kind).reason for kind in get_args(definitions.Named)} == {
        "PURPOSE_UNKNOWN",
        "CONTROLLER_UNKNOWN",
        "NOTICE_UNKNOWN",
        "SIGNAL_MAPPING_UNKNOWN",
        "CALLER_UNKNOWN",
    }


def test_an_override_isnt_stretched() -> None:
    said: dict[str, Any] = {"request_id": "r", "name": "o", "version": 1, "caller": "desk", "purpose": "audit", "ticket": "t"}
    opened = OverrideDefined(**said, approved_by="privacy", ends_at=600, opened_by="ops", defined_by="ops", reason="r")
    longer = OverrideDefined(**said, approved_by="privacy", ends_at=601, defined_by="ops", reason="r")
    assert reason_of(lambda: check_override(opened, longer, 100)) == "OVERRIDE_OVER"


def test_a_signal_comes_from_a_source_of_some_characters() -> None:
    def signal(source: str) -> Any:
        return receiving.ReceiveSignal(
            request_id="r", identifier_hash=HASH, namespace="phone", kind="sms", text="STOP", source=source
        )

    assert reason_of(lambda: signal("\n")) == "SIGNAL_SOURCE_INVALID"
    assert reason_of(lambda: signal("gateway")) == ""


async def test_a_trait_of_which_nobody_said_anything_is_told_as_that() -> None:
    async def found(*_: Any) -> Any:
        return SimpleNamespace(
            past={}, redacted=False, rules=SimpleNamespace(computed=None), record=SimpleNamespace(redacted=()), is_now=True
        )

    async def none(*_: Any) -> list[Any]:
        return []

    asked = ("permit", "settled", "cluster_as_of", "permit_others", "profile_as_of")
    explaining = bare(Explaining, _profiles=SimpleNamespace(**dict.fromkeys(asked, found)), _assertions=none)
    purpose = PurposeDefined(request_id="p", name="offers", version=1, description="", legal_basis="contract", traits=("*",))
    with pytest.raises(CustomerError) as refused:
        await explaining.trait(HASH, "shoe_size", purpose, await found(), NOTHING)
    assert refused.value.reason == "TRAIT_UNKNOWN"


def test_more_decisions_than_an_answer_holds_are_not_listed() -> None:
    async def fetch(*_: Any) -> list[None]:
        return [None] * (MOST_DECISIONS_LISTED + 1)

    assert reason_of(lambda: Decisions(SimpleNamespace(fetch=fetch)).of_identifier(HASH)) == "TOO_MANY_DECISIONS"


async def test_a_filter_that_is_sent_nothing_ends_and_there_are_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audiences, "SILENCE_S", 0.05)
    monkeypatch.setattr(audiences, "FILTERS_AT_MOST", 1)
    filters = audiences.Audiences(NOTHING, NOTHING, b"key")

    async def silent() -> Any:
        await asyncio.Event().wait()
        yield None

    first, second = filters.filtered(silent()), filters.filtered(silent())
    running = asyncio.create_task(anext(first))
    await asyncio.sleep(0)
    with pytest.raises(CustomerError) as refused:
        await anext(second)
    assert refused.value.reason == "FILTERS_BUSY"
    with pytest.raises(CustomerError) as ended:
        await running
    assert ended.value.reason == "STREAM_NOT_SENT"


def test_what_opendsr_is_set_up_by_is_readable_and_a_controller_shows_its_token(tmp_path: Path) -> None:
    (file := tmp_path / "opendsr.json").write_text("nothing of the kind")
    assert reason_of(OpenDsrFile(file).read) == "OPENDSR_UNREADABLE"
    nobody = Processor(domain="d", certificate="c", key=str(tmp_path / "none"), controllers=())
    assert reason_of(lambda: nobody.controller_of("")) == "TOKEN_MISSING"
    assert reason_of(lambda: nobody.controller_of("guess")) == "TOKEN_INVALID"
    assert reason_of(lambda: nobody.signed(b"")) == "OPENDSR_UNREADABLE"


@pytest.mark.parametrize(("header", "reason"), [("", "TOKEN_MISSING"), ("Bearer guess", "TOKEN_INVALID")])
def test_a_profile_is_read_by_a_token_that_is_known(tmp_path: Path, header: str, reason: str) -> None:
    door, request = bare(ProfileDoor, _tokens=TokenFile(tmp_path / "tokens")), SimpleNamespace(headers={"authorization": header})
    assert reason_of(lambda: door._caller(request)) == reason


def test_access_tokens_have_a_form_a_file_and_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = TokenFile(tmp_path / "tokens.json")
    assert reason_of(lambda: tokens.add("one", "No Space", "service", bytes)) == "SPACE_INVALID"
    monkeypatch.setattr(access_tokens, "MAX_TOKENS", 1)
    tokens.add("one", "main", "service", bytes)
    assert reason_of(lambda: tokens.add("two", "main", "service", bytes)) == "TOO_MANY_TOKENS"
    (tmp_path / "tokens.json").write_text(json.dumps({"tokens": "none"}))
    assert reason_of(tokens.all) == "TOKENS_UNREADABLE"


MANY = ["x"] * (CHOICES_AT_MOST + 1)


@pytest.mark.parametrize(
    ("reason", "call"),
    [
        ("COLLECTION_UNKNOWN", lambda: target_of(b"/v1/spaces/main/collections/accounts/profiles/a/traits")),
        ("PATH_INVALID", lambda: target_of(b"/v1/spaces/%zz")),
        ("FILTER_TOO_LONG", lambda: timeline_filter(profile_pb2.GetTimelineRequest(names=MANY))),
        ("STEP_INVALID", lambda: steps_of(NOTHING, segment_pb2.ListSegmentSizesRequest(step=Duration(nanos=1)))),
        ("ORDER_UNKNOWN", lambda: bare(HistoryApi, _profiles=None).ListProfileChanges(wrong_order(), None)),
        ("SOURCE_MISSING", lambda: anext(bare(ExportApi).ExportEvents(export_pb2.ExportEventsRequest(), None))),
        ("TRAIT_MISSING", lambda: bare(ProfileRulesApi).ExplainTrait(rules_pb2.ExplainTraitRequest(), None)),
        ("TOO_MANY_CUSTOMERS", lambda: bare(Changes).refused([HASH] * (CHECKED_AT_MOST + 1), NOTHING)),
        ("TOO_MANY_EVENTS", lambda: bare(Replayer).replay({HASH: MOST_EVENTS + 1}, NOTHING)),
        ("FORMAT_MISSING", lambda: bare(EvidenceApi).GetReceipt(evidence_pb2.GetReceiptRequest(), None)),
        ("PARKED_ID_MISSING", lambda: bare(ParkedApi).ReplayParked(parked_pb2.ReplayParkedRequest(), None)),
        (
            "TOO_MANY_IDS",
            lambda: bare(ParkedApi).ReplayParked(parked_pb2.ReplayParkedRequest(parked_ids=["x"] * (PAGE_MAX + 1)), None),
        ),
        ("TOO_MANY_POSITIONS", lambda: freshness(positions())),
        ("LOG_UNKNOWN", lambda: bare(LogApi, _logs={})._of(SimpleNamespace(invocation_metadata=lambda: [(LOG_KEY, "none")]))),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_anything_is_read(reason: str, call: Callable[[], Any]) -> None:
    assert reason_of(call) == reason


def wrong_order() -> history_pb2.ListProfileChangesRequest:
    return history_pb2.ListProfileChangesRequest(order=99)  # type: ignore[arg-type]


def positions() -> list[Position]:
    return [Position(log="profile", partition=number, number=1) for number in range(POSITIONS_AT_MOST + 1)]


def test_members_of_a_segment_are_told_when_everybody_was_looked_at() -> None:
    async def place() -> Any:
        return SimpleNamespace(rules_version=0, differing=(), looked_at=0, streams=1, remaking=None)

    rules: Any = SimpleNamespace(version=1, segments=SimpleNamespace(conditions={"vip": None}))
    api = bare(SegmentApi, _memberships=SimpleNamespace(place=place), _rulebook=SimpleNamespace(activations=[]))
    assert reason_of(lambda: api._settled("vip", rules, 0.0)) == "SEGMENTS_NOT_SETTLED"
