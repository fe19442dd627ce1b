"""A supposed policy is what its changes say, in their order, from their instants on, and nothing else."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.decided import KnownDecision
from services.profile.domain.disclosure import Disclosure, Given
from services.profile.domain.policy import Change, decisions_under, no_longer_shown, purpose_under, shows
from services.profile.domain.read_summary import NAMES_AT_MOST, ReadSummary
from shared.consent_rule import Case, judge
from shared.events.consent import PurposeDefined
from shared.events.disclosures import Terms
from shared.instants import DAY

NAMES = st.sampled_from(["news", "care"])
BASES = st.sampled_from(["consent", "contract", "legal_obligation", "legitimate_interest"])
INSTANTS = st.integers(0, 20)
FIELDS = st.sampled_from(["city", "email", "identifier:email", "phone", "*"])
purposes = st.builds(
    PurposeDefined,
    request_id=st.just("1"),
    name=NAMES,
    version=st.integers(1, 3),
    description=st.just(""),
    legal_basis=BASES,
    traits=st.lists(st.sampled_from(["city", "email", "phone", "*"]), max_size=3).map(tuple),
    legal_bases=st.dictionaries(st.sampled_from(["EU", "US-CA"]), BASES, max_size=2),
    expires_after_days=st.integers(0, 3),
)
values: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(lambda basis: {"legal_basis": basis}, BASES),
    st.builds(lambda days: {"expires_after_days": days}, st.integers(0, 5)),
    st.builds(lambda age: {"minimum_age": age}, st.integers(0, 18)),
    st.builds(lambda age: {"minors_under": age}, st.integers(0, 18)),
)
changes = st.one_of(
    st.builds(Change, since=INSTANTS, purpose=NAMES, invalid=st.just(True)),
    st.builds(Change, since=INSTANTS, purpose=NAMES, values=values),
    st.builds(Change, since=INSTANTS, purpose=NAMES, jurisdiction=st.sampled_from(["EU", "US-CA", "BR"])),
    st.builds(Change, since=INSTANTS, withdrawn=st.sampled_from([b"a" * 16, b"b" * 16])),
)
decisions = st.builds(
    KnownDecision,
    request_id=st.just(""),
    decision_id=st.sampled_from([b"a" * 16, b"b" * 16, b"c" * 16]),
    identifier_hash=st.just(b"h" * 16),
    namespace=st.just("email"),
    purpose=NAMES,
    purpose_version=st.just(1),
    outcome=st.sampled_from(["granted", "withdrawn", "refused"]),
    decided_at=INSTANTS,
    recorded_at=INSTANTS,
)


@given(purposes, st.lists(changes, max_size=4), INSTANTS)
def test_what_bears_on_nothing_changes_nothing(purpose: PurposeDefined, supposed: list[Change], at: int) -> None:
    bearing = [one for one in supposed if one.bears_on(purpose.name, at)]
    found = purpose_under(supposed, purpose, at)
    assert found == purpose_under(bearing, purpose, at)
    if not [one for one in bearing if not one.withdrawn]:
        assert found is purpose
    if any(one.invalid for one in bearing):
        assert found is None


@given(purposes, BASES)
def test_a_basis_that_asks_nobody_asks_nothing_of_grants(purpose: PurposeDefined, basis: str) -> None:
    found = purpose_under([Change(purpose=purpose.name, values={"legal_basis": basis})], purpose, 0)
    assert found is not None
    assert found.legal_basis == basis
    assert found.expires_after_days == (purpose.expires_after_days if basis == "consent" else 0)


@given(purposes, st.sampled_from(["EU", "US-CA", "BR"]))
def test_a_jurisdiction_is_of_the_basis_that_the_purpose_claims_there(purpose: PurposeDefined, jurisdiction: str) -> None:
    found = purpose_under([Change(purpose=purpose.name, jurisdiction=jurisdiction)], purpose, 0)
    assert found is not None
    assert found.legal_basis == purpose.legal_bases.get(jurisdiction, purpose.legal_basis)


@given(purposes, st.lists(decisions, max_size=4), st.sampled_from([b"a" * 16, b"b" * 16]), INSTANTS, INSTANTS)
def test_what_is_supposed_to_be_withdrawn_is_denied_unless_granted_anew(
    purpose: PurposeDefined, made: list[KnownDecision], withdrawn: bytes, since: int, at: int
) -> None:
    purpose = msgspec.structs.replace(purpose, legal_basis="consent", expires_after_days=0)
    found = decisions_under([Change(since=since, withdrawn=withdrawn)], {b"h" * 16: made}, at)[b"h" * 16]
    assert found[: len(made)] == made, "nothing that was decided is gone"
    added = found[len(made) :]
    named = [one for one in made if one.decision_id == withdrawn]
    assert len(added) == (len(named) if since <= at else 0)
    assert all(one.outcome == "withdrawn" and one.decided_at >= since for one in added)
    own = [one for one in added if one.purpose == purpose.name]
    if own and all(one.decided_at < own[0].decided_at for one in made if one.outcome == "granted" and one.purpose == purpose.name):
        assert not judge(Case(purpose, found, at * DAY)).permitted


@given(st.lists(FIELDS, max_size=4), purposes, purposes)
def test_only_what_was_shown_can_be_shown_no_longer(fields: list[str], was: PurposeDefined, now: PurposeDefined) -> None:
    gone = no_longer_shown(fields, was, now)
    assert not no_longer_shown(fields, was, was)
    assert list(gone) == [field for field in fields if shows(was, field) and not shows(now, field)]
    assert set(gone) <= set(fields)


@given(st.integers(0, 2 * NAMES_AT_MOST))
def test_a_summary_counts_each_read_and_keeps_some_names(count: int) -> None:
    terms = Terms("GetProfile", "news", 1, b"", "consent", "permit")
    summary = ReadSummary()
    for number in range(count):
        summary.add((number, 0), Disclosure(Given(terms, (number.to_bytes(16),)), f"caller {number}", number), "WHY")
    assert summary.reads == sum(summary.callers.values()) == sum(summary.purposes.values()) == count
    assert len(summary.callers) <= NAMES_AT_MOST + 1
    assert len(summary.customers) == count
    if count:
        assert (summary.first_at, summary.last_at) == (0, count - 1)
