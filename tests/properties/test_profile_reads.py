"""Laws of reads: many at once are each by itself; a mask shows a part of the whole; a tag says whether an answer is the same."""

import asyncio

from c360.profile.v1 import profile_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from services.profile.api.etags import tagger
from services.profile.api.masks import FIELDS, WHOLE, mask_of
from services.profile.api.messages import profile_message
from services.profile.app import Instant
from services.profile.batches import Seen
from services.profile.domain.decided import KnownDecision
from services.profile.domain.rules_document import SHIPPED_RULES
from shared.errors import CustomerError
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import LegalBasis, Outcome, PurposeDefined
from shared.identifiers import hash_of, normalise
from shared.ids import derived_id
from tests.properties.histories import STREAMS, entries
from tests.properties.people_read import LOOKUP_KEY, People, decision, overlay, purpose

MORE_STREAMS = [*STREAMS, *(derived_id(b"another", bytes([number])) for number in range(3))]
STRANGER = derived_id(b"stranger")
TAG = tagger(LOOKUP_KEY)
BASES: list[LegalBasis] = ["consent", "contract", "legal_obligation", "legitimate_interest"]
OUTCOMES: list[Outcome] = ["granted", "refused", "withdrawn", "objected"]
HASHES = [hash_of(normalise("email", value), LOOKUP_KEY) for value in ("a@shop.example", "b@shop.example")]

histories = st.lists(entries(streams=MORE_STREAMS), max_size=25)
bound = st.sampled_from([b"a@shop.example", b"b@shop.example", *HASHES])
decided = st.builds(decision, bound, st.sampled_from(OUTCOMES), st.integers(0, 9), confirmed=st.booleans())
decisions = st.lists(st.one_of(decided, decided, st.builds(overlay, bound, st.integers(0, 9))), max_size=4)
purposes = st.builds(purpose, st.sampled_from(BASES), st.sampled_from(["city", "tier", "email", "*"]))
masks = st.builds(
    lambda paths: mask_of(FieldMask(paths=paths)),
    st.lists(st.sampled_from([*FIELDS, "traits.city", "traits.email", "traits.nobody"]), max_size=4),
)


def with_ends(history: list[Entry], ended: frozenset[bytes], kind: str) -> list[Entry]:
    """Some of the customers wait to be erased, or are."""
    if kind == "restricted":
        return history + [
            make_entry(events.RESTRICTED, s, derived_id(s, b"r"), 9, events.CustomerRestricted(erasure_id=b"")) for s in ended
        ]
    erased = events.CustomerErased(erasure_id=b"", policy="refuse", identifier_hashes=())
    return history + [make_entry(events.ERASED, s, derived_id(s, b"e"), 9, erased) for s in ended]


async def one_by_one(people: People, customers: list[bytes], purpose: PurposeDefined) -> tuple[list[Seen | CustomerError], int]:
    """And the most loads that one of them took."""
    found: list[Seen | CustomerError] = []
    most = 0
    for customer in customers:
        people.loads.clear()
        try:
            profile = await people.profiles.permit(customer, purpose)
            found.append(Seen(profile, await people.profiles.verified(profile, Instant())))
        except CustomerError as refused:
            found.append(refused)
        most = max(most, len(people.loads))
    return found, most


def told(outcome: Seen | CustomerError) -> object:
    return (type(outcome), outcome.reason, outcome.facts) if isinstance(outcome, CustomerError) else outcome


@given(
    histories,
    st.frozensets(st.sampled_from(MORE_STREAMS), max_size=2),
    st.sampled_from(["restricted", "erased"]),
    decisions,
    purposes,
    st.lists(st.sampled_from([*MORE_STREAMS, STRANGER]), max_size=8),
)
def test_many_at_once_are_each_by_itself_at_the_cost_of_the_dearest(
    history: list[Entry],
    ended: frozenset[bytes],
    kind: str,
    decided: list[KnownDecision],
    purpose: PurposeDefined,
    customers: list[bytes],
) -> None:
    async def compare() -> None:
        people = People(with_ends(history, ended, kind), MORE_STREAMS, decided)
        alone, most = await one_by_one(people, customers, purpose)
        people.loads.clear()
        together = await people.batches.outcomes(customers, purpose, with_verified=True)
        assert [told(outcome) for outcome in together] == [told(outcome) for outcome in alone]
        assert len(people.loads) <= most, "one load for a ring of all of them, not one for each"

    asyncio.run(compare())


def answer(history: list[Entry], purpose: PurposeDefined) -> Seen:
    people = People(history, MORE_STREAMS)
    held = asyncio.run(people.profiles.permit_cluster(MORE_STREAMS[0], purpose, people._states))
    profiles = asyncio.run(people.profiles.chosen({MORE_STREAMS[0]: held}, SHIPPED_RULES, Instant()))
    return Seen(profiles[MORE_STREAMS[0]], frozenset({"email"}))


@given(histories, purposes.filter(lambda p: p.legal_basis == "contract"), masks)
def test_a_mask_shows_that_part_of_the_whole_answer_and_no_more(
    history: list[Entry], purpose: PurposeDefined, mask: object
) -> None:
    assert isinstance(mask, type(WHOLE))
    seen = answer(history, purpose)
    expected = profile_message(seen.profile, purpose, seen.verified)
    for field in set(FIELDS) - set(mask.fields):
        expected.ClearField(field)  # type: ignore[arg-type]
    for name in list(expected.traits):
        if mask.traits is not None and name not in mask.traits:
            del expected.traits[name]
    assert profile_message(seen.profile, purpose, seen.verified, mask) == expected


@given(histories, histories, masks)
def test_a_tag_is_the_same_exactly_as_long_as_the_answer_is(before: list[Entry], after: list[Entry], mask: object) -> None:
    assert isinstance(mask, type(WHOLE))
    contract = purpose("contract")

    def message(history: list[Entry]) -> pb.Profile:
        seen = answer(history, contract)
        return profile_message(seen.profile, contract, seen.verified, mask)

    one, other = message(before), message(after)
    assert (TAG(one, SHIPPED_RULES, contract, mask) == TAG(other, SHIPPED_RULES, contract, mask)) == (one == other)
    assert tagger(b"another installation")(one, SHIPPED_RULES, contract, mask) != TAG(one, SHIPPED_RULES, contract, mask)
