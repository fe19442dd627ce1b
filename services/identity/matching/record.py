"""What of a person is compared, as one tuple of normal forms; what was sent is kept beside it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.identity.matching import values


class Person(NamedTuple):
    """Normal forms (`values.NORMAL_FORM`); None is not known. Models name these fields. Personal data: it never prints."""

    given_name: str | None = None
    middle_initial: str | None = None
    family_name: str | None = None
    birth_date: str | None = None  # YYYY-MM-DD
    street: str | None = None  # with the number
    postcode: str | None = None
    city: str | None = None
    email: str | None = None
    phone: str | None = None
    national_id: str | None = None  # social security, tax, insurance; as it was typed, so it weighs and doesn't forbid

    def __repr__(self) -> str:
        return "<Person sealed>"


@dataclass(frozen=True, slots=True)
class Record:
    """One row of one source about one person. Personal data: it never prints."""

    id: str
    source: str
    person: Person
    raw: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return f"<Record {self.id} sealed>"


def normalise(raw: Mapping[str, str | None], region: str | None = None, day_first: bool = True) -> Person:
    """Of `Person`'s fields, `middle_name`, and `street_number` where it comes apart from the street. `region` (ISO 3166) completes phones."""
    sent = {name: value for name, value in raw.items() if value}

    def read(name: str) -> str:
        return sent.get(name, "")

    return Person(
        given_name=values.name(read("given_name")),
        middle_initial=values.initial(read("middle_name")),
        family_name=values.name(read("family_name")),
        birth_date=values.birth_date(read("birth_date"), day_first),
        street=values.street(read("street_number"), read("street")),
        postcode=values.code(read("postcode")),
        city=values.name(read("city")),
        email=values.email(read("email")),
        phone=values.phone(read("phone"), region),
        national_id=values.code(read("national_id")),
    )


def make_record(
    record_id: str, source: str, raw: Mapping[str, str | None], region: str | None = None, day_first: bool = True
) -> Record:
    kept = {name: value for name, value in raw.items() if value}
    return Record(record_id, source, normalise(raw, region, day_first), raw=kept)
