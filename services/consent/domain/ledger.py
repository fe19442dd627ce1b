"""What may be defined and decided. Pure: a command and what was recorded before it in, events or an error out.

A command that was carried out before gives no event: its answer already stands in the ledger.
"""

import re
from collections.abc import Iterable
from functools import reduce
from typing import Final

import msgspec

from shared.errors import InvalidInput
from shared.events.consent import ALL_TRAITS, DecisionRecorded, LegalBasis, Outcome, PurposeDefined
from shared.ids import NewId
from shared.instants import END_OF_TIME, SECOND
from shared.request_ids import check_request_id, reused

PURPOSE_NAME = re.compile(r"[a-z0-9_]{1,64}")
MAX_DESCRIPTION = 1_000  # characters: a paragraph for people
MAX_TRAITS = 500  # more than any golden record has
MAX_TRAIT_NAME = 128  # characters
MAX_METHOD = 64  # characters
CLOCK_TOLERANCE = 5 * SECOND  # a caller's clock may run this far ahead of ours


class DefinePurpose(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, PURPOSE_INVALID)."""

    request_id: str
    name: str
    description: str
    legal_basis: LegalBasis
    traits: tuple[str, ...]

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        _check_purpose(self)


class RecordDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, PURPOSE_UNKNOWN, METHOD_INVALID, CONFIRMED_INVALID)."""

    request_id: str
    identifier_hash: bytes
    namespace: str
    purpose: str
    outcome: Outcome
    decided_at: int | None = None  # None: now
    method: str = ""
    confirmed: bool = False

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_purpose_name(self.purpose)
        if len(self.method) > MAX_METHOD or not self.method.isprintable():
            raise InvalidInput(f"a method is at most {MAX_METHOD} printable characters", reason="METHOD_INVALID")
        if self.confirmed and self.outcome != "granted":
            raise InvalidInput("only what was granted is confirmed by the person", reason="CONFIRMED_INVALID")


Event = PurposeDefined | DecisionRecorded


class Ledger(msgspec.Struct, frozen=True):
    """A fold of the events that bear on a command. Definitions and decisions have request ids of their own."""

    purposes: dict[str, PurposeDefined] = {}  # newest version of each
    definitions: dict[str, PurposeDefined] = {}  # by request id
    decisions: dict[str, DecisionRecorded] = {}  # by request id


def evolve(ledger: Ledger, event: Event) -> Ledger:
    if isinstance(event, DecisionRecorded):
        return msgspec.structs.replace(ledger, decisions=ledger.decisions | {event.request_id: event})
    newest = max(ledger.purposes.get(event.name, event), event, key=lambda purpose: purpose.version)
    return msgspec.structs.replace(
        ledger,
        purposes=ledger.purposes | {event.name: newest},
        definitions=ledger.definitions | {event.request_id: event},
    )


def fold(events: Iterable[Event]) -> Ledger:
    return reduce(evolve, events, Ledger())


def define_purpose(ledger: Ledger, command: DefinePurpose) -> list[PurposeDefined]:
    """Raises Conflict (REQUEST_ID_REUSED)."""
    newest = ledger.purposes.get(command.name)
    defined = PurposeDefined(
        request_id=command.request_id,
        name=command.name,
        version=newest.version + 1 if newest else 1,
        description=command.description,
        legal_basis=command.legal_basis,
        traits=tuple(dict.fromkeys(command.traits)),
    )
    if (earlier := ledger.definitions.get(command.request_id)) is not None:
        _check_repeats(earlier == msgspec.structs.replace(defined, version=earlier.version))
        return []
    return [defined]


def record_decision(ledger: Ledger, command: RecordDecision, now: int, new_id: NewId) -> list[DecisionRecorded]:
    """`now` is later than every decision recorded before.

    Raises InvalidInput (PURPOSE_UNKNOWN, INSTANT_IN_FUTURE, INSTANT_INVALID), Conflict (REQUEST_ID_REUSED).
    """
    if (earlier := ledger.decisions.get(command.request_id)) is not None:
        _check_repeats(_says_the_same(command, earlier))
        return []
    purpose = ledger.purposes.get(command.purpose)
    if purpose is None:
        raise unknown_purpose()
    return [
        DecisionRecorded(
            request_id=command.request_id,
            decision_id=new_id(),
            identifier_hash=command.identifier_hash,
            namespace=command.namespace,
            purpose=purpose.name,
            purpose_version=purpose.version,
            outcome=command.outcome,
            decided_at=_decided_at(command.decided_at, now),
            method=command.method,
            confirmed=command.confirmed,
        )
    ]


class Instant(msgspec.Struct, frozen=True):
    """valid_at: only what had been decided by then. known_at: only what our log knew by then."""

    valid_at: int = END_OF_TIME
    known_at: int = END_OF_TIME


NOW: Final = Instant()


def check_past(instant: Instant, now: int) -> None:
    """Raises InvalidInput (INSTANT_IN_FUTURE)."""
    if any(given != END_OF_TIME and given > now + CLOCK_TOLERANCE for given in (instant.valid_at, instant.known_at)):
        raise InvalidInput("nothing is known of the future", reason="INSTANT_IN_FUTURE")


def unknown_purpose() -> InvalidInput:
    """The name stays out of it: a caller may have put anything there."""
    return InvalidInput("no purpose has this name", reason="PURPOSE_UNKNOWN")


def check_purpose_name(name: str) -> None:
    """Raises InvalidInput (PURPOSE_UNKNOWN): what can't be a name, nobody has defined."""
    if not PURPOSE_NAME.fullmatch(name):
        raise unknown_purpose()


def _check_purpose(command: DefinePurpose) -> None:
    if not PURPOSE_NAME.fullmatch(command.name):
        raise _invalid("a purpose's name is 1 to 64 lower-case letters, digits and underscores", "name")
    if len(command.description) > MAX_DESCRIPTION:
        raise _invalid(f"a purpose's description is at most {MAX_DESCRIPTION} characters", "description")
    if len(command.traits) > MAX_TRAITS:
        raise _invalid(f"a purpose sees at most {MAX_TRAITS} traits by name; '{ALL_TRAITS}' is all", "traits")
    for trait in command.traits:
        if not trait or len(trait) > MAX_TRAIT_NAME or not trait.isprintable():
            raise _invalid(f"a trait's name is 1 to {MAX_TRAIT_NAME} printable characters", "traits")


def _invalid(message: str, field: str) -> InvalidInput:
    return InvalidInput(message, reason="PURPOSE_INVALID", field=field)


def _check_repeats(same: bool) -> None:
    if not same:
        raise reused()


def _says_the_same(command: RecordDecision, earlier: DecisionRecorded) -> bool:
    """Without an instant it was "now" at the first try, and one ahead of our clock was brought back to now."""
    ahead = 0 if command.decided_at is None else command.decided_at - earlier.decided_at
    return 0 <= ahead <= CLOCK_TOLERANCE and (
        (command.identifier_hash, command.purpose, command.outcome, command.method, command.confirmed)
        == (earlier.identifier_hash, earlier.purpose, earlier.outcome, earlier.method, earlier.confirmed)
    )


def _decided_at(given: int | None, now: int) -> int:
    """Never later than now, not even by a tolerated clock: a withdrawal that comes next has to come after it."""
    if given is None:
        return now
    if given > now + CLOCK_TOLERANCE:
        raise InvalidInput("nobody has decided anything in the future", reason="INSTANT_IN_FUTURE")
    if given < 0:
        raise InvalidInput("a decision was made after 1970", reason="INSTANT_INVALID")
    return min(given, now)


CONTACT: Final = ("first_name", "firstName", "last_name", "lastName", "name", "email", "phone", "address")
IDS: Final = ("user_id", "anonymous_id", "group_id", "customer_number")
ORDERS: Final = ("last_order", "last_order_id", "last_order_total", "order_count", "open_return", "return_status")
TASTE: Final = ("interests", "favourite_category", "favorite_category")


def _ready(name: str, legal_basis: LegalBasis, description: str, *traits: str) -> DefinePurpose:
    return DefinePurpose(
        request_id=f"ready-purpose-{name}", name=name, description=description, legal_basis=legal_basis, traits=traits
    )


# What a shop needs on its first day; its own definitions of the same names take their place.
READY_PURPOSES: Final = (
    _ready(
        "service",
        "contract",
        "Deliver orders, answer questions, handle returns.",
        *(*CONTACT, *IDS, *ORDERS, "loyalty_tier", "plan", "language", "country", "company", "title", "events"),
    ),
    _ready(
        "marketing",
        "consent",
        "Send offers and newsletters, chosen by interests.",
        *("first_name", "firstName", "email", "language", "country", "loyalty_tier", *TASTE),
    ),
    _ready(
        "analytics",
        "legitimate_interest",
        "Understand how the shop is used, without names and addresses.",
        *("country", "language", "loyalty_tier", "plan", "order_count", *TASTE),
    ),
    _ready("audit", "legal_obligation", "Show what was known and served, to those who must know.", ALL_TRAITS),
)
