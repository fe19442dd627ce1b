"""Whose an identifier is and was: a fold of what identity made known. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from shared.events import customer as customer_events
from shared.events.catalogue import Entry


class Link(NamedTuple):
    """`since`: when consent came to know it."""

    customer: bytes
    likely: bool
    since: int
    namespace: str = ""


class PastLink(NamedTuple):
    """Held from `since` on, and no more at `until`."""

    value_hash: bytes
    customer: bytes
    likely: bool
    since: int
    until: int


def named(entries: Sequence[Entry]) -> set[bytes]:
    """Hashes of the identifiers that are linked or unlinked here."""
    return {
        entry.public().value_hash for entry in entries if entry.type_id in (customer_events.LINKED.id, customer_events.UNLINKED.id)
    }


def follow(links: dict[bytes, Link], entries: Sequence[Entry], at: int) -> list[PastLink]:
    """Brings `links`, which has those of all identifiers named here that are linked, to what holds afterwards; and what it was before.

    What came and went at one instant was never known. Any of the entries may come again without a second effect.
    """
    past: list[PastLink] = []

    def end(value_hash: bytes) -> None:
        link = links.pop(value_hash)
        if link.since < at:
            past.append(PastLink(value_hash, link.customer, link.likely, link.since, at))

    for entry in entries:
        if entry.type_id == customer_events.LINKED.id:
            public = entry.public()
            link = links.get(public.value_hash)
            if link is None or link[:2] != (entry.stream, public.likely):
                if link is not None:
                    end(public.value_hash)
                links[public.value_hash] = Link(entry.stream, public.likely, at, public.namespace)
        elif entry.type_id == customer_events.UNLINKED.id:
            value_hash = entry.public().value_hash
            if value_hash in links and links[value_hash].customer == entry.stream:
                end(value_hash)
    return past
