"""Laws of the registry: which version was in force, what differs, and what conditions on a purpose do to its verdicts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.definitions import Define, Definition, define, differences, fold, said
from services.consent.domain.form import STRICTEST_FIRST
from shared.errors import InvalidInput
from shared.events.consent import DecisionRecorded, LegalBasis, PurposeDefined
from tests.properties.test_consent_rule import a_decision, histories, judged

BASES: list[LegalBasis] = ["consent", "contract", "legal_obligation", "legitimate_interest"]
SOME = st.sets(st.sampled_from(["email", "plan", "city"])).map(lambda traits: tuple(sorted(traits)))
CONDITIONS = st.tuples(st.booleans(), st.sampled_from([0, 16, 18]))


@st.composite
def purposes(draw: st.DrawFn, request_id: str = "r") -> PurposeDefined:
    return PurposeDefined(
        request_id=request_id,
        name="newsletter",
        version=0,
        description=draw(st.sampled_from(["", "Send it"])),
        legal_basis=draw(st.sampled_from(BASES)),
        traits=draw(SOME),
        legal_bases=draw(st.dictionaries(st.sampled_from(["DE", "US-CA"]), st.sampled_from(BASES))),
        double_opt_in=draw(st.booleans()),
        minimum_age=draw(st.sampled_from([0, 16])),
        data_uses=draw(SOME),
        defined_by="ops",
        reason="asked",
    )


def in_force(versions: list[tuple[int, Definition]], valid_at: int, known_at: int) -> int:
    """The number of the version, 0 for none; of (recorded, version). As the table is asked."""
    return max((one.version for recorded, one in versions if recorded <= known_at and one.in_force_at <= valid_at), default=0)


@given(st.data())
def test_who_asks_of_an_instant_is_told_the_last_of_what_was_in_force_and_always_the_same(data: st.DataObject) -> None:
    versions: list[tuple[int, Definition]] = []
    answered: list[tuple[int, int, int]] = []
    for now in range(1, data.draw(st.integers(2, 7))):
        start = data.draw(st.none() | st.integers(0, now))
        wanted = msgspec.structs.replace(data.draw(purposes(str(now))), legal_basis="consent", legal_bases={})
        command, known = Define(definition=wanted, in_force_at=start), fold(one for _, one in versions)
        if versions and start is not None and start < versions[-1][1].in_force_at:
            with pytest.raises(InvalidInput, match="from later on"):
                define(known, command, now)
        else:
            versions += [(now, one) for one in define(known, command, now)]
        assert [one.version for _, one in versions] == list(range(1, len(versions) + 1))
        valid_at, known_at = data.draw(st.integers(0, 7)), data.draw(st.integers(0, now))
        answered.append((valid_at, known_at, in_force(versions, valid_at, known_at)))
        starts = [one.in_force_at for _, one in versions if one.in_force_at <= valid_at]
        told = in_force(versions, valid_at, now)
        assert [one.in_force_at for _, one in versions if one.version == told] == ([max(starts)] if starts else [])
        assert in_force(versions, now, now) == len(versions)  # the newest is what is enforced
    assert all(in_force(versions, valid_at, known_at) == told for valid_at, known_at, told in answered)


@given(purposes(), purposes())
def test_what_differs_makes_one_version_of_the_other(one: PurposeDefined, other: PurposeDefined) -> None:
    made = {field: set(values) for field, values in said(one).items()}
    for difference in differences(one, other):
        made[difference.field] = made[difference.field] - set(difference.removed) | set(difference.added)
    assert made == {field: set(values) for field, values in said(other).items()}
    assert differences(one, one) == []


@given(purposes(), histories())
def test_what_is_permitted_is_permitted_on_every_ground_that_is_claimed(
    purpose: PurposeDefined, history: list[DecisionRecorded]
) -> None:
    try:
        Define(definition=purpose)
    except InvalidInput:
        return
    elsewhere = [msgspec.structs.replace(purpose, legal_basis=basis) for basis in purpose.legal_bases.values()]
    assert not judged(purpose, history).permitted or all(judged(one, history).permitted for one in elsewhere)


@given(st.sampled_from(STRICTEST_FIRST), st.sampled_from(STRICTEST_FIRST), histories())
def test_a_stricter_ground_permits_no_more(one: LegalBasis, other: LegalBasis, history: list[DecisionRecorded]) -> None:
    strict, loose = sorted((one, other), key=STRICTEST_FIRST.index)
    assert not judged(_asking(strict), history).permitted or judged(_asking(loose), history).permitted


@st.composite
def attested(draw: st.DrawFn) -> list[DecisionRecorded]:
    """Grants as they come: confirmed or not, of somebody whose age was attested or not."""
    return [
        msgspec.structs.replace(one, confirmed=draw(st.booleans()), attested_age=draw(st.sampled_from([0, 16, 17, 18])))
        if one.outcome == "granted"
        else one
        for one in draw(histories())
    ]


@given(CONDITIONS, attested())
def test_a_grant_without_what_the_purpose_asks_for_is_as_if_it_had_not_been_made(
    conditions: tuple[bool, int], history: list[DecisionRecorded]
) -> None:
    double_opt_in, minimum_age = conditions
    purpose = _asking("consent", double_opt_in=double_opt_in, minimum_age=minimum_age)
    whole = [
        one
        for one in history
        if one.outcome != "granted" or ((one.confirmed or not double_opt_in) and one.attested_age >= minimum_age)
    ]
    verdict, plain = judged(purpose, history), judged(_asking("consent"), whole)
    assert verdict.permitted == plain.permitted
    if whole:
        assert verdict == plain
    elif history:
        assert verdict.reason in ("CONSENT_UNCONFIRMED", "AGE_NOT_ATTESTED")
    assert judged(purpose, iter([*history, *history])) == verdict


@given(CONDITIONS.filter(any), attested(), st.integers(10, 20))
def test_a_grant_with_all_that_is_asked_for_lifts_what_was_before(
    conditions: tuple[bool, int], history: list[DecisionRecorded], decided_at: int
) -> None:
    purpose = _asking("consent", double_opt_in=conditions[0], minimum_age=conditions[1])
    grant = msgspec.structs.replace(a_decision("granted", decided_at, 99), confirmed=True, attested_age=18)
    assert judged(purpose, [*history, grant]).decision_id == grant.decision_id
    assert judged(purpose, [*history, grant]).permitted


def _asking(legal_basis: LegalBasis, **conditions: Any) -> PurposeDefined:
    fields: dict[str, Any] = {"request_id": "r", "name": "newsletter", "version": 1, "description": "", "traits": ("email",)}
    return PurposeDefined(legal_basis=legal_basis, **fields, **conditions)
