"""What one source said of one founding identifier: per field the value of the latest event, and the first event that said it. Pure; in
any order the same.

Sources name fields in their own ways: the traits of the Segment specification and the canonical names of tracking plans are
known, whatever their case, hyphens and underscores.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import structs

from services.identity.graph.facts import Evidence
from services.identity.matching.record import Person, normalise
from shared.privacy import Personal

RECORD_ID_BYTES = 16
NOTHING_SAID = Evidence(0, b"")
READ_BACK = -1  # from an older log, where nobody tells any more which unit it was
MOST_FORMER = 16  # values of a field, besides the one that stands; who changes it oftener may be told a later event than the first
DIGEST_BYTES = 8  # of a value among the few of one field
MAX_VALUE = 200  # characters; a longer one is a mistake, and says nothing

# Field to the names that it goes by, the first that is there counts.
NAMES: Mapping[str, tuple[str, ...]] = {
    "given_name": ("firstname", "givenname", "forename"),
    "middle_name": ("middlename",),
    "family_name": ("lastname", "familyname", "surname"),
    "name": ("name", "fullname"),
    "birth_date": ("birthday", "birthdate", "dateofbirth", "dob"),
    "email": ("email", "emailaddress"),
    "phone": ("phone", "phonenumber", "mobile"),
    "national_id": ("nationalid", "socialsecuritynumber", "ssn"),
}
# Of an address, which is one field: half of an old and half of a new one is no address.
ADDRESS: Mapping[str, tuple[str, ...]] = {
    "street": ("street", "streetaddress", "addressline1", "line1", "address1"),
    "street_number": ("streetnumber", "housenumber"),
    "postcode": ("postalcode", "postcode", "zipcode", "zip"),
    "city": ("city", "town", "locality"),
}


class Saying(NamedTuple):
    """An event that said something of what is compared, and the unit that handed it over."""

    occurred_at: int
    event_id: bytes
    unit: int


class Said(Personal, frozen=True, kw_only=True):
    """A field's parts, none when the source removed it, and the latest event that said so.

    `first` is the earliest that did, if that is another one; `former` those of other values, by a digest: whichever is said again, it is known
    since when.
    """

    parts: dict[str, str] = {}
    occurred_at: int
    event_id: bytes
    unit: int = READ_BACK  # of identity's outbox, that handed the event over
    first: Saying | None = None
    former: dict[bytes, Saying] = {}

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.occurred_at, self.event_id)

    @property
    def since(self) -> Saying:
        return self.first or Saying(self.occurred_at, self.event_id, self.unit)

    def values(self) -> dict[bytes, Saying]:
        return {**self.former, _digest(self.parts): self.since}


Statements = Mapping[str, Said]


def record_id(source: str, value_hash: bytes) -> bytes:
    return hashlib.sha256(value_hash + source.encode()).digest()[:RECORD_ID_BYTES]


def read(traits: Mapping[str, Any], evidence: Evidence, unit: int = READ_BACK) -> dict[str, Said]:
    """What of an event's traits is compared."""
    loose = {_loose(name): value for name, value in sorted(traits.items(), reverse=True)}
    found = {}
    for field, names in NAMES.items():
        if (name := next((name for name in names if name in loose), None)) is not None:
            text = _text(loose[name])
            found[field] = _said({field: text} if text else {}, evidence, unit)
    if (address := _address(loose)) is not None:
        found["address"] = _said(address, evidence, unit)
    return found


def merge(one: Statements, other: Statements) -> dict[str, Said]:
    merged = dict(one)
    for field, said in other.items():
        merged[field] = _of_both(merged[field], said) if field in merged else said
    return merged


def person_of(statements: Statements) -> Person:
    raw = {part: value for said in statements.values() for part, value in said.parts.items()}
    given, family = _apart(raw.pop("name", ""))
    if not raw.get("given_name") and not raw.get("family_name"):
        raw |= {"given_name": given, "family_name": family}
    return normalise(raw)


def completed_by(statements: Iterable[Said]) -> Evidence:
    """The event since which all that is known is said; what was removed is compared with nothing.

    It says the same of who says all of it again: of no more than what comes late, and of what is said otherwise, this changes.
    """
    return max((Evidence(*said.since[:2]) for said in statements if said.parts), default=NOTHING_SAID)


def last_of(statements: Iterable[Said]) -> Evidence:
    """The latest event, also if it removed something."""
    return max((said.evidence for said in statements), default=NOTHING_SAID)


def disagree(one: Statements, other: Statements) -> bool:
    return any(one[field].parts != other[field].parts for field in one.keys() & other.keys())


def sayings(statements: Iterable[Said]) -> tuple[Saying, ...]:
    """The events that said first what is compared, earliest first."""
    return tuple(sorted({said.since for said in statements if said.parts}))


def _of_both(one: Said, other: Said) -> Said:
    """Of one field."""
    stands, values = other if one.evidence < other.evidence else one, one.values()
    for value, saying in other.values().items():
        values[value] = min(saying, values.get(value, saying), key=_order)
    first = values.pop(_digest(stands.parts))
    former = dict(sorted(values.items())[:MOST_FORMER])
    return structs.replace(stands, first=None if _order(first)[:2] == stands.evidence else first, former=former)


def _order(saying: Saying) -> tuple[int, bytes, int]:
    """Of one event that was handed over again, what tells where."""
    return saying.occurred_at, saying.event_id, -saying.unit


def _digest(parts: Mapping[str, str]) -> bytes:
    """The same for who shouts it."""
    said = "\x1f".join(f"{part}\x1e{' '.join(text.casefold().split())}" for part, text in sorted(parts.items()))
    return hashlib.sha256(said.encode()).digest()[:DIGEST_BYTES]


def _said(parts: dict[str, str], evidence: Evidence, unit: int) -> Said:
    return Said(parts=parts, occurred_at=evidence.occurred_at, event_id=evidence.event_id, unit=unit)


def _loose(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _text(value: object) -> str:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if len(text) <= MAX_VALUE else ""


def _address(loose: Mapping[str, Any]) -> dict[str, str] | None:
    """An address by itself, or its parts among the other traits. None: nothing is said of any."""
    nested = loose.get("address")
    if isinstance(nested, dict):
        loose = {_loose(str(name)): value for name, value in sorted(nested.items(), reverse=True)}
    elif "address" in loose and nested is None:
        return {}
    elif not any(name in loose for names in ADDRESS.values() for name in names):
        return None
    parts = {part: next((text for name in names if (text := _text(loose.get(name)))), "") for part, names in ADDRESS.items()}
    return {part: text for part, text in parts.items() if text}


def _apart(name: str) -> tuple[str, str]:
    """Given and family name; of more than two words the last is the family's."""
    if "," in name:
        family, given = name.split(",", 1)
        return given.strip(), family.strip()
    given, _, family = name.strip().rpartition(" ")
    return (given.split(" ")[0], family) if given else ("", "")


encode_statements = msgspec.msgpack.Encoder().encode
decode_statements = msgspec.msgpack.Decoder(dict[str, Said]).decode
