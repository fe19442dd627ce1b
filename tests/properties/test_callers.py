"""Laws of callers: a credential is one caller's, and what a caller may do is said in one form."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.callers import LONGEST_OVERRIDE, MOST_CALLERS, check_override
from services.consent.domain.definitions import Define, Definition, define, fold
from shared.errors import AlreadyExists, InvalidInput, WrongState
from shared.events.callers import CallerDefined, OverrideDefined
from shared.events.consent import PurposeDefined

NAMES = st.sampled_from(["mailer", "shop", "desk"])
SUBJECTS = st.sampled_from([("", ""), ("a", "1"), ("a", "2"), ("b", "1")])
CERTIFICATES = st.lists(st.sampled_from(["x", "y", "a"]), max_size=2).map(tuple)


def a_caller(name: str = "mailer", request_id: str = "r", **said: Any) -> CallerDefined:
    return CallerDefined(request_id=request_id, name=name, version=0, defined_by="ops", reason="asked", **said)


def credentials(caller: CallerDefined) -> set[tuple[str, ...]]:
    return {(name,) for name in caller.certificate_names} | ({(caller.issuer, caller.subject)} if caller.subject else set())


@given(st.lists(st.tuples(NAMES, SUBJECTS, CERTIFICATES), max_size=8))
def test_no_two_callers_ever_prove_themselves_by_the_same(wanted: list[tuple[str, tuple[str, str], tuple[str, ...]]]) -> None:
    log: list[Definition] = []
    for number, (name, (issuer, subject), names) in enumerate(wanted, start=1):
        caller = a_caller(name, str(number), issuer=issuer, subject=subject, certificate_names=names)
        others = [one for one in fold(log).newest.values() if isinstance(one, CallerDefined) and one.name != name]
        taken = any(credentials(caller) & credentials(other) for other in others)
        if taken:
            with pytest.raises(AlreadyExists, match="proves itself by the same"):
                define(fold(log), Define(definition=caller), number)
        else:
            log += define(fold(log), Define(definition=caller), number)


def test_there_is_an_end_to_how_many_callers_there_are() -> None:
    log: list[Definition] = []
    for number in range(MOST_CALLERS):
        log.append(a_caller(f"c{number}", str(number)))
    with pytest.raises(WrongState) as refused:
        define(fold(log), Define(definition=a_caller("one_more")), 1)
    assert refused.value.reason == "TOO_MANY_CALLERS"
    assert define(fold(log), Define(definition=a_caller("c7", "again")), 1)


BAD: list[dict[str, Any]] = [
    {"issuer": "https://id.example"},
    {"subject": "mailer"},
    {"issuer": "a", "subject": "x" * 201},
    {"issuer": "a", "subject": "x\n"},
    {"certificate_names": ("",)},
    {"certificate_names": tuple("abcdefghijk")},
    {"purposes": tuple(f"p{number}" for number in range(101))},
    {"calls_per_s": 1_000_001},
    {"burst": 5},
    {"misses_per_min": 2**32 - 1},
    {"description": "\0"},
]


@pytest.mark.parametrize("said", BAD, ids="-".join)
def test_a_caller_that_is_said_otherwise_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Define(definition=a_caller(**said))
    assert refused.value.reason == "CALLER_INVALID"


def test_a_caller_declares_purposes_that_are_defined() -> None:
    with pytest.raises(InvalidInput) as refused:
        define(fold([]), Define(definition=a_caller(purposes=("marketing",))), 1)
    assert refused.value.reason == "PURPOSE_UNKNOWN"
    assert define(fold([]), Define(definition=a_caller(purposes=("*",))), 1)


def an_override(by: str = "ops", ends_at: int = 600, **said: Any) -> OverrideDefined:
    fields: dict[str, Any] = {
        "caller": "desk",
        "purpose": "audit",
        "ticket": "INC-12",
        "approved_by": "privacy",
        "reason": "urgent",
    }
    more = {"request_id": "r"} | fields | said
    return OverrideDefined(name="incident", version=0, defined_by=by, ends_at=ends_at, **more)


OPEN = an_override(opened_by="ops")
BAD_OPENINGS: list[dict[str, Any]] = [
    {"approved_by": "ops"},
    {"ends_at": 100},
    {"ends_at": 100 + LONGEST_OVERRIDE + 1},
    {"closed": True},
    {"review": "fine"},
]


@pytest.mark.parametrize("said", BAD_OPENINGS, ids="-".join)
def test_the_glass_is_broken_by_two_people_and_for_a_day_at_most(said: dict[str, Any]) -> None:
    check_override(None, OPEN, 100)
    with pytest.raises(InvalidInput, match=r".") as refused:
        check_override(None, an_override(**said), 100)
    assert refused.value.reason == "OVERRIDE_INVALID"


@given(st.sampled_from(["caller", "purpose", "ticket", "approved_by", "ends_at"]), st.booleans())
def test_what_was_opened_is_closed_and_reviewed_and_nothing_else(field: str, closed: bool) -> None:
    other = msgspec.structs.replace(OPEN, closed=closed, **{field: 601 if field == "ends_at" else "another"})
    with pytest.raises(WrongState):
        check_override(OPEN, other, 100)
    shut = msgspec.structs.replace(OPEN, closed=True)
    check_override(OPEN, shut, 100)
    with pytest.raises(WrongState):
        check_override(shut, OPEN, 100)
    reviewed = msgspec.structs.replace(OPEN, review="needed", defined_by="auditor")
    with pytest.raises(InvalidInput):
        check_override(OPEN, reviewed, 100)
    check_override(OPEN, reviewed, 600)
    check_override(shut, msgspec.structs.replace(shut, review="needed", defined_by="auditor"), 100)
    with pytest.raises(WrongState):
        check_override(reviewed, msgspec.structs.replace(reviewed, review=""), 600)


@given(st.sampled_from(["ops", " OPS", "Ops ", "desk"]))
def test_who_opened_or_used_an_override_reviews_it_not_nor_corrects_a_review(who: str) -> None:
    for earlier in (OPEN, msgspec.structs.replace(OPEN, closed=True, defined_by="auditor", review="needed")):
        with pytest.raises(InvalidInput) as refused:
            check_override(earlier, msgspec.structs.replace(earlier, review="all is well", defined_by=who), 600)
        assert refused.value.reason == "OVERRIDE_INVALID"
    check_override(OPEN, msgspec.structs.replace(OPEN, review="needed", defined_by="privacy"), 600)


@given(st.lists(st.sampled_from(["ops", "auditor", "someone"]), max_size=4))
def test_who_opened_an_override_is_known_whoever_says_what_of_it_later(later: list[str]) -> None:
    log: list[Definition] = [
        a_caller("desk", "c"),
        PurposeDefined(request_id="p", name="audit", version=1, description="d", legal_basis="contract", traits=("*",)),
    ]
    log += define(fold(log), Define(definition=an_override("ops", request_id="o")), 100)
    for number, who in enumerate(later):
        closed = an_override(who, request_id=f"r{number}", closed=True)
        log += define(fold(log), Define(definition=closed), 200 + number)
        assert define(fold(log), Define(definition=closed), 900) == [], "repeated, it has no second effect"
    newest = log[-1]
    assert isinstance(newest, OverrideDefined)
    assert newest.opened_by == "ops"
    assert newest.waits_for_review(599) == bool(later)
    assert newest.waits_for_review(600)
