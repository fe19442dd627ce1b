"""Who lives together: the same address and family name. A relation of its own, never a reason for a merge. Pure."""

from collections import defaultdict
from collections.abc import Iterable

from services.identity.matching.record import Person, Record

Household = tuple[str, ...]  # what its members share


def household_of(person: Person) -> Household | None:
    """None where not enough is known. Postcode or city, as streets of one name are in every town."""
    place = person.postcode or person.city
    if not person.family_name or not person.street or not place:
        return None
    return (person.family_name, person.street, place)


def households(records: Iterable[Record]) -> dict[Household, frozenset[str]]:
    """Of two records or more; whether they are one person or several is not its question."""
    found: dict[Household, set[str]] = defaultdict(set)
    for record in records:
        shared = household_of(record.person)
        if shared is not None:
            found[shared].add(record.id)
    return {shared: frozenset(ids) for shared, ids in found.items() if len(ids) > 1}
