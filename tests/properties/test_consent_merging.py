"""What holds for a person whose identifiers were joined or parted: the table of merges and splits, row by row, and its laws."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, combinations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.consent_rule import DENIALS, OF_THE_WHOLE_PERSON, Bond, Case, Verdict, judge, judge_point
from shared.cores import cores
from shared.events.consent import DecisionRecorded, KnownAge, LegalBasis, NoticeShown, Outcome, PurposeDefined, Scope
from shared.instants import DAY
from tests.properties.test_consent_rule import a_decision, a_purpose

ALL: list[Outcome] = ["granted", "refused", "withdrawn", "objected", "opted_out", "opted_in", "limited"]
SCOPES: list[Scope] = ["person", "contact_point", "identifier"]
BASES: st.SearchStrategy[LegalBasis] = st.sampled_from(["consent", "legitimate_interest"])
NAMESPACES = ("user_id", "email", "email", "anonymous_id", "email", "phone")  # of the identifiers, by number
ASKED, LIKELY, OTHER = b"asked", b"likely", b"other"  # cores
ME, MINE, ANOTHER = 1, 2, 4  # e-mail addresses: two of the core that is asked about, and one that a match joins


def h(number: int) -> bytes:
    return number.to_bytes(16)


def decided(outcome: Outcome, at: int = 0, by: int = ME, number: int = 0) -> DecisionRecorded:
    made = a_decision(outcome, at, number or 1000 * at + by, by)
    return msgspec.structs.replace(made, namespace=NAMESPACES[by])


def purpose_of(scope: Scope = "person", basis: LegalBasis = "consent", **more: int) -> PurposeDefined:
    points = ("email",) if scope == "contact_point" else ()
    return msgspec.structs.replace(a_purpose(basis), scope=scope, contact_points=points, **more)


def in_cores(**cores: Iterable[int]) -> dict[bytes, Bond]:
    return {h(one): Bond(core=core.encode()) for core, members in cores.items() for one in members}


def certainly(*decisions: DecisionRecorded, scope: Scope = "person", basis: LegalBasis = "consent") -> Case:
    """All identifiers are certainly one person's."""
    return Case(purpose_of(scope, basis), decisions, 99, in_cores(asked=range(6)))


def likely(*decisions: DecisionRecorded, scope: Scope = "person", basis: LegalBasis = "consent") -> Case:
    """A match alone joins the last two to the others."""
    return Case(purpose_of(scope, basis), decisions, 99, in_cores(asked=range(4), likely=(4, 5)))


# The table, row by row.


def test_a_contact_point_is_decided_about_alone_and_anothers_grant_never_leaks_over() -> None:
    case = certainly(decided("granted", 1, ME), decided("withdrawn", 2, MINE), scope="contact_point")
    assert judge_point(case, h(ME)).state == "GRANTED"
    assert judge_point(case, h(MINE)).state == "WITHDRAWN"
    assert judge_point(case, h(ANOTHER)).state == "UNKNOWN"
    assert judge(case, ASKED).permitted, "the customer may be written to, at the one address"


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("outcome", sorted(OF_THE_WHOLE_PERSON))
def test_an_objection_an_opt_out_and_a_limit_are_of_the_whole_person_and_cross_every_link(scope: Scope, outcome: Outcome) -> None:
    grants = [decided("granted", 5, by) for by in range(4)]
    for case in (
        likely(decided(outcome, 3, ANOTHER), *grants, scope=scope),
        certainly(decided(outcome, 7, MINE), *grants, scope=scope),
    ):
        verdict = judge_point(case, h(ME))
        assert (verdict.permitted, verdict.reason) == (False, DENIALS[outcome])
        assert not judge(case, ASKED).permitted


def test_a_grant_of_a_person_crosses_what_is_certain_and_never_a_match() -> None:
    grant = decided("granted", 1, ANOTHER)
    assert judge(certainly(grant), ASKED).state == "GRANTED"
    assert judge(likely(grant), ASKED).state == "UNKNOWN"
    assert judge(likely(grant), LIKELY).state == "GRANTED"


def test_of_two_decisions_of_one_person_the_most_recent_counts_and_a_tie_denies() -> None:
    assert judge(certainly(decided("granted", 1, ME), decided("withdrawn", 2, MINE)), ASKED).state == "WITHDRAWN"
    assert judge(certainly(decided("granted", 2, ME), decided("withdrawn", 1, MINE)), ASKED).state == "GRANTED"
    assert judge(certainly(decided("granted", 2, ME), decided("withdrawn", 2, MINE)), ASKED).state == "WITHDRAWN"


def test_a_clash_of_a_weaker_identifier_with_what_a_stronger_one_denied_is_a_conflict() -> None:
    account, device = 0, 3
    denial, grant = decided("refused", 1, account), decided("granted", 2, device)
    verdict = judge(certainly(denial, grant), ASKED)
    assert (verdict.permitted, verdict.state) == (False, "CONFLICT")
    assert (verdict.decision_id, verdict.against) == (grant.decision_id, denial.decision_id), "both are listed, to ask again"
    assert judge(certainly(denial, grant, decided("granted", 3, account)), ASKED).state == "GRANTED", "it is settled"
    assert judge(certainly(decided("refused", 1, device), decided("granted", 2, account)), ASKED).state == "GRANTED"


def test_a_later_denial_of_who_may_be_the_same_person_is_a_conflict_and_an_earlier_one_is_none() -> None:
    grant = decided("granted", 2, ME)
    assert judge(likely(grant, decided("withdrawn", 3, ANOTHER)), ASKED).state == "CONFLICT"
    assert judge(likely(grant, decided("withdrawn", 1, ANOTHER)), ASKED).state == "GRANTED"


@pytest.mark.parametrize("scope", SCOPES)
def test_who_is_a_child_by_any_identifier_is_one_by_all_and_a_split_leaves_it_with_whoever_has_that(scope: Scope) -> None:
    said = KnownAge(under=16, by="desk", reason="sign-up")
    for joined, by in ((certainly, MINE), (likely, ANOTHER)):
        child = msgspec.structs.replace(decided("granted", 3, by, 700), purpose="*", outcome="age_known", age=said)
        case = joined(child, *(decided("granted", 5, one) for one in range(4)), scope=scope)
        case = msgspec.structs.replace(case, purpose=msgspec.structs.replace(case.purpose, minors_under=16))
        assert judge(case, ASKED).state == judge_point(case, h(ME)).state == "MINOR"
        parted = [decision for decision in case.decisions if decision.identifier_hash != h(by)]
        without = {bound: bond for bound, bond in case.bonds.items() if bound != h(by)}
        assert judge_point(msgspec.structs.replace(case, decisions=parted, bonds=without), h(ME)).state == "GRANTED"


def test_of_one_who_granted_and_one_who_was_never_asked_only_who_granted_is_permitted() -> None:
    case = certainly(decided("granted", 1, ME), scope="identifier")
    assert judge_point(case, h(ME)).state == "GRANTED"
    assert judge_point(case, h(MINE)).state == "UNKNOWN"
    assert not judge(case, ASKED).permitted, "a profile holds what is known of all of them"


def test_what_was_granted_by_what_turned_out_to_be_shared_counts_no_more_and_what_was_denied_does() -> None:
    parted = {h(ME): Bond(theirs=False), h(MINE): Bond()}
    assert judge(Case(purpose_of(), [decided("granted", 1)], 99, parted)).state == "UNKNOWN"
    assert judge(Case(purpose_of(), [decided("granted", 1, MINE), decided("withdrawn", 2)], 99, parted)).state == "WITHDRAWN"


def test_what_no_contact_point_denied_is_denied_for_all_of_them_and_what_it_granted_for_none() -> None:
    account = 0
    assert judge_point(certainly(decided("granted", 1, account), scope="contact_point"), h(ME)).state == "UNKNOWN"
    assert judge(certainly(decided("granted", 1, account), scope="contact_point"), ASKED).state == "UNKNOWN"
    denied = certainly(decided("granted", 1, ME), decided("withdrawn", 2, account), scope="contact_point")
    assert judge_point(denied, h(ME)).state == "WITHDRAWN"


def test_a_grant_expires_as_time_passes_and_is_told_until_when_it_counts() -> None:
    purpose = purpose_of(expires_after_days=30)
    for now, state, until in ((DAY, "GRANTED", 31 * DAY), (31 * DAY - 1, "GRANTED", 31 * DAY), (31 * DAY, "EXPIRED", None)):
        verdict = judge(Case(purpose, [decided("granted", DAY)], now))
        assert verdict.state == state
        assert until is None or verdict.until == until
    assert judge(Case(purpose, [decided("granted", DAY), decided("granted", 9 * DAY)], 35 * DAY)).permitted


def test_a_grant_by_an_older_notice_is_stale_and_so_is_one_without_any() -> None:
    purpose = msgspec.structs.replace(purpose_of(), notice="asking", notice_version=2)

    def state(name: str, version: int) -> str:
        shown = NoticeShown(name=name, version=version, locale="en", sha256=b"")
        grant = msgspec.structs.replace(decided("granted", 1), notice=shown if name else None)
        return judge(Case(purpose, [grant], 99)).state

    assert [state("", 0), state("asking", 1), state("other", 3)] == ["STALE"] * 3
    assert [state("asking", 2), state("asking", 3)] == ["GRANTED"] * 2


def test_who_denied_is_not_to_be_asked_again_for_so_long_as_the_purpose_says() -> None:
    purpose = purpose_of(ask_again_after_days=30)
    assert judge(Case(purpose, [decided("refused", DAY)], 99)).ask_again_at == 31 * DAY
    assert judge(Case(purpose_of(), [decided("refused", DAY)], 99)).ask_again_at == 0
    assert judge(Case(purpose, [decided("granted", DAY)], 99)).ask_again_at == 0


# The laws.


@st.composite
def histories(draw: st.DrawFn, outcomes: Sequence[Outcome] = ALL) -> list[DecisionRecorded]:
    drawn = draw(st.lists(st.tuples(st.sampled_from(outcomes), st.integers(0, 6), st.integers(0, 5)), max_size=8))
    return [decided(outcome, at, by, number) for number, (outcome, at, by) in enumerate(drawn, 1)]


@st.composite
def cases(draw: st.DrawFn, scopes: Sequence[Scope] = SCOPES) -> Case:
    """Of three cores, some identifiers parted."""
    core = st.sampled_from([ASKED, LIKELY, OTHER])
    bonds = {h(one): Bond(draw(st.integers(0, 4)) > 0, draw(core)) for one in range(6)}
    purpose = purpose_of(draw(st.sampled_from(scopes)), draw(BASES), expires_after_days=0)
    return Case(purpose, draw(histories()), 99, bonds)


def within(case: Case, cores: Collection[bytes], merged: bool = False) -> Case:
    """Of those cores alone, as they are or as one."""
    bonds: Mapping[bytes, Bond] = {
        one: Bond(bond.theirs, ASKED if merged else bond.core) for one, bond in case.bonds.items() if bond.core in cores
    }
    return Case(case.purpose, [d for d in case.decisions if d.identifier_hash in bonds], case.now, bonds)


def verdicts(case: Case) -> list[Verdict]:
    return [judge(case, core) for core in (ASKED, LIKELY, OTHER)] + [judge_point(case, one) for one in case.bonds]


@given(cases(), st.data())
def test_neither_order_nor_duplication_matters(case: Case, data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(list(case.decisions)), max_size=3)) if case.decisions else []
    other = data.draw(st.permutations([*case.decisions, *again]))
    assert verdicts(msgspec.structs.replace(case, decisions=other)) == verdicts(case)


@given(cases(["person"]))
def test_what_is_permitted_is_permitted_whichever_of_the_matches_are_right(case: Case) -> None:
    if judge(case, ASKED).permitted:
        for others in chain.from_iterable(combinations([LIKELY, OTHER], size) for size in range(3)):
            assert judge(within(case, {ASKED, *others}, merged=True), ASKED).permitted


@given(cases())
def test_a_match_permits_nothing_and_once_it_is_split_all_is_as_before(case: Case) -> None:
    alone = within(case, [ASKED])
    assert judge(alone, ASKED).permitted or not judge(case, ASKED).permitted
    without = [d for d in case.decisions if case.bonds[d.identifier_hash].core == ASKED or d.outcome not in DENIALS]
    undenied = msgspec.structs.replace(case, decisions=without)
    assert judge(undenied, ASKED) == judge(alone, ASKED), "but for denials, who is only likely the same might as well not be"


@given(cases(["contact_point", "identifier"]))
def test_no_other_identifiers_grant_counts_for_a_contact_point_or_an_identifier(case: Case) -> None:
    for point, bond in case.bonds.items():
        if judge_point(case, point).permitted and case.purpose.legal_basis == "consent":
            own = [d for d in case.decisions if d.identifier_hash == point]
            assert bond.theirs
            assert judge_point(msgspec.structs.replace(case, decisions=own), point).permitted


@given(cases(["contact_point", "identifier"]))
def test_a_customer_is_permitted_if_one_contact_point_is_or_every_identifier(case: Case) -> None:
    points = [one for one, bond in case.bonds.items() if bond == Bond(core=ASKED)]
    if case.purpose.scope == "identifier":
        assert judge(case, ASKED).permitted == all(judge_point(case, one).permitted for one in points) or not points
    elif case.purpose.legal_basis == "consent":
        mails = [one for one in points if NAMESPACES[int.from_bytes(one)] == "email"]
        assert judge(case, ASKED).permitted == any(judge_point(case, one).permitted for one in mails)


@given(cases(["person"]))
def test_who_certainly_is_one_person_gets_one_answer_whatever_is_asked(case: Case) -> None:
    for point, bond in case.bonds.items():
        assert judge_point(case, point) == judge(case, bond.core)


@given(cases(), st.sampled_from(sorted(DENIALS)), st.integers(0, 5), st.integers(0, 9))
def test_one_more_denial_never_permits(case: Case, outcome: Outcome, by: int, at: int) -> None:
    more = msgspec.structs.replace(case, decisions=[*case.decisions, decided(outcome, at, by, 500)])
    for before, after in zip(verdicts(case), verdicts(more), strict=True):
        assert before.permitted or not after.permitted


@given(cases(), st.integers(0, 40), st.integers(0, 40))
def test_time_takes_what_was_granted_and_gives_nothing(case: Case, one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    purpose = msgspec.structs.replace(case.purpose, legal_basis="consent", expires_after_days=1)
    in_days = [msgspec.structs.replace(d, decided_at=d.decided_at * DAY // 2) for d in case.decisions]
    at = [
        verdicts(Case(purpose, [d for d in in_days if d.decided_at <= earlier * DAY // 8], now * DAY // 8, case.bonds))
        for now in (earlier, later)
    ]
    for before, after in zip(*at, strict=True):
        assert before.permitted or not after.permitted
        assert after == before or later * DAY // 8 >= before.until, "an answer may be kept until then"


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=8))
def test_a_core_is_all_whom_certain_edges_join_however_they_are_given(edges: list[tuple[int, int]]) -> None:
    found = cores(map(h, range(6)), ((h(one), h(other)) for one, other in edges))
    known = {one: {one} for one in range(6)}
    for _ in known:
        for one, other in edges:
            if one in known and other in known:
                known[one] |= known[other]
                known[other] |= known[one]
    for one, members in known.items():
        assert {other for other in known if found[h(other)] == found[h(one)]} == members
