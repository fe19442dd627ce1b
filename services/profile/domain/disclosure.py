"""What is disclosed by a read, and many of them as one event. Pure.

A field's name may say whose profile it is, where a source sends an address as the name of a trait; so only a plain name is kept.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from shared.events import disclosures as events
from shared.instants import END_OF_TIME

PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]{0,63}")
OTHER: Final = "*"
FIELDS_AT_MOST: Final = 1_000  # names; as many as a profile has
WITHHELD_AT_MOST: Final = 100  # names of fields for a reason; a person may have a thousand that a purpose may not see


class Given(msgspec.Struct, frozen=True):
    """As `events.Given`, with its terms."""

    terms: events.Terms
    members: tuple[bytes, ...]
    evidence: tuple[bytes, ...] = ()
    consent_known: int = -1
    positions: tuple[tuple[int, int], ...] = ()
    valid_at: int = END_OF_TIME
    known_at: int = END_OF_TIME
    tag: str = ""
    count: int = 1
    joined: tuple[tuple[int, int], ...] = ()


class Disclosure(msgspec.Struct, frozen=True, gc=False):
    given: Given
    caller: str
    at: int
    request_id: str = ""


Item = TypeVar("Item", bound=Hashable)


class Places(dict[Item, int]):
    """Of what is there once, in the order in which it came."""

    def of(self, item: Item) -> int:
        return self.setdefault(item, len(self))


def packed(disclosures: Sequence[Disclosure]) -> events.DisclosuresRecorded:
    callers, terms, given = Places[str](), Places[events.Terms](), Places[events.Given]()
    known: dict[int, int] = {}  # an answer that was given out again and again is looked at once
    reads = []
    for one in disclosures:
        if (place := known.get(id(one.given))) is None:
            place = known[id(one.given)] = given.of(_stored(one.given, terms.of(one.given.terms)))
        reads.append(events.Read(place, callers.of(one.caller), one.at, one.request_id))
    return events.DisclosuresRecorded(callers=tuple(callers), terms=tuple(terms), given=tuple(given), reads=tuple(reads))


def unpacked(event: events.DisclosuresRecorded) -> Iterator[Disclosure]:
    given = [_told(one, event.terms[one.terms]) for one in event.given]
    return (Disclosure(given[read.given], event.callers[read.caller], read.at, read.request_id) for read in event.reads)


def _stored(given: Given, terms: int) -> events.Given:
    return events.Given(terms, *msgspec.structs.astuple(given)[1:])


def _told(given: events.Given, terms: events.Terms) -> Given:
    return Given(terms, *msgspec.structs.astuple(given)[1:])


def plain(names: Iterable[str]) -> tuple[str, ...]:
    """In order; of too many those that come first, and "*" for the others."""
    return _bounded(tuple(sorted({name if PLAIN.fullmatch(name) else OTHER for name in names})), FIELDS_AT_MOST)


def withheld_names(withheld: Iterable[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(field, reason)s by reason."""
    by_reason: dict[str, set[str]] = {}
    for field, reason in withheld:
        by_reason.setdefault(reason, set()).add(field)
    return tuple((reason, _bounded(plain(names), WITHHELD_AT_MOST)) for reason, names in sorted(by_reason.items()))


def _bounded(names: tuple[str, ...], most: int) -> tuple[str, ...]:
    return names if len(names) <= most else tuple(sorted({*names[: most - 1], OTHER}))
