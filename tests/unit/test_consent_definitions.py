"""Given what was defined, when a definition comes, then a version or an error."""

import hashlib
from typing import Any

import msgspec
import pytest

from services.consent.domain.definitions import Define, Definition, define, differences, fold, key_of, notice_text
from services.consent.domain.ready import READY
from shared.errors import Conflict, CustomerError, InvalidInput
from shared.events.consent import ALL_TRAITS, ControllerDefined, NoticeDefined, PurposeDefined
from shared.instants import SECOND

NOW = 1_750_000_000 * SECOND
BY: dict[str, Any] = {"version": 0, "defined_by": "ops", "reason": "asked"}


def a_purpose(**changes: Any) -> PurposeDefined:
    fields = {"request_id": "1", "name": "newsletter", "description": "Send it", "legal_basis": "consent", "traits": ("email",)}
    return PurposeDefined(**(BY | fields | changes))


def a_controller(**changes: Any) -> ControllerDefined:
    return ControllerDefined(**(BY | {"request_id": "2", "name": "shop", "legal_name": "Shop Ltd"} | changes))


def a_notice(**changes: Any) -> NoticeDefined:
    fields = {"request_id": "3", "name": "asking", "purposes": ("newsletter",), "texts": (notice_text("en", "Send it to me."),)}
    return NoticeDefined(**(BY | fields | changes))


def defined(given: list[Definition], definition: Definition, in_force_at: int | None = None, now: int = NOW) -> list[Definition]:
    return define(fold(given), Define(definition=definition, in_force_at=in_force_at), now)


def reason(raised: pytest.ExceptionInfo[CustomerError]) -> str:
    return raised.value.reason


[NEWSLETTER] = defined([], a_purpose())


def test_the_first_definition_is_version_1_and_in_force_from_now_on() -> None:
    assert (NEWSLETTER.version, NEWSLETTER.in_force_at) == (1, NOW)


def test_a_definition_repeated_after_a_newer_version_is_still_answered_as_the_first_time() -> None:
    [second] = defined([NEWSLETTER], a_purpose(request_id="4", legal_basis="contract"))
    assert defined([NEWSLETTER, second], a_purpose(), now=NOW + 60 * SECOND) == []


CHANGES: list[dict[str, Any]] = [
    {"traits": ("phone",)},
    {"legal_basis": "contract"},
    {"description": "?"},
    {"name": "other"},
    {"double_opt_in": True},
    {"minimum_age": 16},
    {"reason": "because"},
    {"defined_by": "legal"},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_a_request_id_of_another_definition_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Conflict) as raised:
        defined([NEWSLETTER], a_purpose(**changes))
    assert reason(raised) == "REQUEST_ID_REUSED"


def test_what_is_listed_twice_is_listed_once() -> None:
    [purpose] = defined([], a_purpose(traits=("email", "phone", "email")))
    assert isinstance(purpose, PurposeDefined)
    assert purpose.traits == ("email", "phone")


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (a_purpose(request_id="4", controller="nobody"), "CONTROLLER_UNKNOWN"),
        (a_purpose(request_id="4", notice="nothing", notice_version=1), "NOTICE_UNKNOWN"),
        (a_notice(purposes=("newsletter", "else")), "PURPOSE_UNKNOWN"),
        (a_notice(controller="nobody"), "CONTROLLER_UNKNOWN"),
    ],
)
def test_a_definition_refers_to_what_is_defined(definition: Definition, expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        defined([NEWSLETTER], definition)
    assert reason(raised) == expected
    [shop] = defined([], a_controller(name="nobody"))
    [other] = defined([], a_purpose(name="else"))
    [notice] = defined([NEWSLETTER], a_notice(request_id="9", name="nothing"))
    assert defined([NEWSLETTER, shop, other, notice], definition)


def test_a_purpose_asks_for_no_version_of_a_notice_that_nobody_has_defined() -> None:
    notices = defined([NEWSLETTER], a_notice())
    with pytest.raises(InvalidInput) as raised:
        defined([NEWSLETTER, *notices], a_purpose(request_id="4", notice=notices[0].name, notice_version=2))
    assert reason(raised) == "NOTICE_UNKNOWN"


@pytest.mark.parametrize(
    ("instant", "expected"),
    [(NOW + 3600 * SECOND, "INSTANT_IN_FUTURE"), (-1, "INSTANT_INVALID"), (NOW - 1, "IN_FORCE_TOO_EARLY")],
)
def test_a_version_is_in_force_no_earlier_than_the_one_ahead_of_it_and_not_in_future(instant: int, expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        defined([NEWSLETTER], a_purpose(request_id="4"), in_force_at=instant)
    assert reason(raised) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "News-Letter"},
        {"name": "newsletter\n"},
        {"name": "x" * 65},
        {"description": "x" * 1001},
        {"traits": ("",)},
        {"traits": ("x" * 129,)},
        {"traits": tuple(str(n) for n in range(501))},
        {"legal_bases": {"Germany": "consent"}},
        {"minimum_age": 151},
        {"ask_again_after_days": 3661},
        {"dpv": ("Marketing",)},
        {"data_uses": ("Marketing!",)},
        {"data_categories": tuple(f"user.c{n}" for n in range(51))},
        {"retention": "x" * 501},
        {"recipients": ("",)},
        {"recipients": ("a\0b",)},
        {"recipients": tuple(str(n) for n in range(51))},
    ],
)
def test_a_purpose_out_of_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        Define(definition=a_purpose(**changes))
    assert reason(raised) == "PURPOSE_INVALID"


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (a_purpose(request_id=""), "REQUEST_ID_MISSING"),
        (a_purpose(request_id="a\0b"), "REQUEST_ID_INVALID"),
        (a_purpose(reason=""), "REASON_INVALID"),
        (a_purpose(defined_by=""), "NAME_INVALID"),
        (a_purpose(controller="a\0b"), "CONTROLLER_UNKNOWN"),
        (a_purpose(legal_basis="contract", double_opt_in=True), "CONDITION_NOT_ENFORCED"),
        (a_purpose(legal_basis="legitimate_interest", expires_after_days=3), "CONDITION_NOT_ENFORCED"),
        (a_purpose(legal_basis="contract", scope="identifier"), "CONDITION_NOT_ENFORCED"),
        (a_purpose(scope="contact_point"), "PURPOSE_INVALID"),
        (a_purpose(contact_points=("email",)), "PURPOSE_INVALID"),
        (a_purpose(scope="contact_point", contact_points=("e mail",)), "PURPOSE_INVALID"),
        (a_purpose(expires_after_days=3661), "PURPOSE_INVALID"),
        (a_purpose(notice="asking"), "PURPOSE_INVALID"),
        (a_purpose(legal_basis="legitimate_interest", minimum_age=16), "CONDITION_NOT_ENFORCED"),
        (a_purpose(legal_basis="legitimate_interest", legal_bases={"DE": "consent"}), "LEGAL_BASIS_STRICTER"),
        (a_controller(name="Shop"), "CONTROLLER_INVALID"),
        (a_controller(legal_name=""), "CONTROLLER_INVALID"),
        (a_controller(contact="a\nb"), "CONTROLLER_INVALID"),
        (a_controller(jurisdiction="Germany"), "CONTROLLER_INVALID"),
        (a_notice(name=""), "NOTICE_INVALID"),
        (a_notice(purposes=()), "NOTICE_INVALID"),
        (a_notice(purposes=("a\0b",)), "PURPOSE_UNKNOWN"),
        (a_notice(texts=()), "NOTICE_INVALID"),
        (a_notice(texts=(notice_text("en", " "),)), "NOTICE_INVALID"),
        (a_notice(texts=(notice_text("English", "Yes"),)), "NOTICE_INVALID"),
        (a_notice(texts=(notice_text("en", "Yes"), notice_text("en", "No"))), "NOTICE_INVALID"),
        (a_notice(texts=(notice_text("en", "x" * 500_001),)), "NOTICE_INVALID"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_definition_out_of_form_is_refused(definition: Definition, expected: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Define(definition=definition)
    assert reason(raised) == expected


def test_the_hash_of_a_text_is_ours() -> None:
    assert notice_text("de", "Schön.").sha256 == hashlib.sha256("Schön.".encode()).digest()


def test_what_differs_is_told_by_value_and_of_a_text_by_its_hash() -> None:
    one, other = notice_text("en", "Yes."), notice_text("en", "Yes, please.")
    [found] = differences(a_notice(texts=(one,)), a_notice(texts=(other,), version=2, reason="kinder"))
    assert (found.field, found.removed, found.added) == ("texts", (f"en: {one.sha256.hex()}",), (f"en: {other.sha256.hex()}",))
    [found] = differences(a_purpose(traits=("email", "phone")), a_purpose(traits=("email", "plan")))
    assert (found.field, found.removed, found.added) == ("traits", ("phone",), ("plan",))


def test_a_shop_starts_with_purposes_that_are_all_told_of_by_a_notice() -> None:
    given: list[Definition] = []
    for command in READY:
        given += define(fold(given), command, NOW)
    purposes = {one.name: one for one in given if isinstance(one, PurposeDefined)}
    assert {name: purpose.legal_basis for name, purpose in purposes.items()} == {
        "service": "contract",
        "marketing": "consent",
        "analytics": "legitimate_interest",
        "advertising": "consent",
        "audit": "legal_obligation",
    }
    assert [name for name, purpose in purposes.items() if ALL_TRAITS in purpose.traits] == ["audit"]
    notices = [one for one in given if isinstance(one, NoticeDefined)]
    assert {name for notice in notices for name in notice.purposes} == purposes.keys()
    assert {text.locale for notice in notices for text in notice.texts} == {"en", "de"}
    assert len({key_of(one) for one in given}) == len(READY)
    assert len({one.request_id for one in given}) == len(READY)
    assert [msgspec.structs.replace(one, version=0, in_force_at=0) for one in given] == [one.definition for one in READY]
