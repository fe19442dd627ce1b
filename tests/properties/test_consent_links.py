"""Whose an identifier was known to be at an instant is what a replay of what had come by then says, however it came in batches."""

import os

from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.links import Link, PastLink, follow, named
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry

CUSTOMERS = [bytes([number]) * 16 for number in range(3)]
HASHES = [bytes([number]) * 32 for number in range(3)]


def linked(customer: bytes, value_hash: bytes, *, likely: bool) -> Entry:
    event = events.IdentifierLinked(namespace="email", value_hash=value_hash, cause=b"c" * 16, likely=likely)
    return make_entry(events.LINKED, customer, os.urandom(16), 0, event)


def unlinked(customer: bytes, value_hash: bytes) -> Entry:
    event = events.IdentifierUnlinked(link_id=b"l" * 16, value_hash=value_hash, cause=b"c" * 16)
    return make_entry(events.UNLINKED, customer, os.urandom(16), 0, event)


ENTRIES = st.one_of(
    st.builds(linked, st.sampled_from(CUSTOMERS), st.sampled_from(HASHES), likely=st.booleans()),
    st.builds(unlinked, st.sampled_from(CUSTOMERS), st.sampled_from(HASHES)),
)


def replayed(entries: list[Entry]) -> dict[bytes, tuple[bytes, bool]]:
    """As it has to be: the last word counts, and only the customer that has it gives it up."""
    found: dict[bytes, tuple[bytes, bool]] = {}
    for entry in entries:
        public = entry.public()
        if entry.type_id == events.LINKED.id:
            found[public.value_hash] = entry.stream, public.likely
        elif found.get(public.value_hash, (b"", False))[0] == entry.stream:
            del found[public.value_hash]
    return found


def held_at(instant: int, links: dict[bytes, Link], past: list[PastLink]) -> list[tuple[bytes, bytes, bool]]:
    """As the tables are asked."""
    now = [(value_hash, one.customer, one.likely) for value_hash, one in links.items() if one.since <= instant]
    return sorted(now + [(one.value_hash, one.customer, one.likely) for one in past if one.since <= instant < one.until])


@given(st.lists(st.lists(ENTRIES, max_size=5), max_size=6), st.booleans())
def test_what_was_known_at_an_instant_stays_what_it_was(batches: list[list[Entry]], again: bool) -> None:
    links: dict[bytes, Link] = {}
    past: list[PastLink] = []
    came: list[Entry] = []
    answers = []
    for at, batch in enumerate(batches + (batches if again else []), 1):
        touched = {value_hash: links.pop(value_hash) for value_hash in named(batch) & links.keys()}
        past += follow(touched, batch, at)
        links |= touched
        came += batch
        answers.append(held_at(at, links, past))
        assert answers[-1] == sorted((value_hash, *held) for value_hash, held in replayed(came).items())
    for at, then in enumerate(answers, 1):
        assert held_at(at, links, past) == then
