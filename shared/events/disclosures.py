"""What profile gave out of customers, and what it refused, as it stands in the log of disclosures. Nobody follows it.

None of this is personal: fields are named, never their values, and a field that has no plain name is "*" (`services/profile/domain/disclosure.py`).
Many reads are one event: they were answered once it was written. What is alike in several of them stands once, and is pointed at by
its place.
"""

from typing import Literal

import msgspec

from shared.events.catalogue import Public, register
from shared.ids import derived_id
from shared.instants import END_OF_TIME

OWNER = "disclosures"
FOLLOWERS: tuple[str, ...] = ()

Outcome = Literal["permit", "partial", "deny", "gap"]


class Terms(msgspec.Struct, frozen=True, array_like=True):
    """By which call and for what something was given out, and what of it: names of fields. `withheld` are (reason, names)."""

    call: str  # such as GetProfile
    purpose: str
    purpose_version: int
    policy: bytes  # SHA-256 of that version of the purpose
    legal_basis: str
    outcome: Outcome
    reason: str = ""  # of a refusal
    fields: tuple[str, ...] = ()
    withheld: tuple[tuple[str, tuple[str, ...]], ...] = ()
    rules_version: int = 0
    mask: tuple[
        str, ...
    ] = ()  # paths of the read mask that it was asked with, over HTTP words of the query; "*": some that isn't plain


class Given(msgspec.Struct, frozen=True, array_like=True):
    """An answer about one customer. `members` are all who were one customer then, the canonical one first.

    `evidence` are the decisions that it follows from, `consent_known` the position up to which decisions were known, `positions`
    (partition, number) of the newest events that it was made from. `tag`: a keyed hash of the answer.
    """

    terms: int
    members: tuple[bytes, ...]
    evidence: tuple[bytes, ...] = ()
    consent_known: int = -1
    positions: tuple[tuple[int, int], ...] = ()
    valid_at: int = END_OF_TIME
    known_at: int = END_OF_TIME
    tag: str = ""
    count: int = 1  # of a bulk answer: customers; `members` is empty then
    joined: tuple[tuple[int, int], ...] = ()  # as `positions`, of the newest events by which was known who is one; empty: by those


class Read(msgspec.Struct, frozen=True, array_like=True):
    """Who got an answer, when it was made, and the id that the caller gave the request."""

    given: int
    caller: int
    at: int
    request_id: str = ""


class DisclosuresRecorded(Public, frozen=True, kw_only=True):
    callers: tuple[str, ...]
    terms: tuple[Terms, ...]
    given: tuple[Given, ...]
    reads: tuple[Read, ...]


DISCLOSURES_RECORDED = register("disclosures.recorded", 1, DisclosuresRecorded)
DISCLOSURES_STREAM = derived_id(b"disclosures")  # the only one of its log
