"""Who lives together: the same address and family name. A relation of its own, never a reason for a merge. Pure."""

from services.identity.matching.record import Person

Household = tuple[str, ...]  # what its members share


def household_of(person: Person) -> Household | None:
    """None where not enough is known. Postcode or city, as streets of one name are in every town."""
    place = person.postcode or person.city
    if not person.family_name or not person.street or not place:
        return None
    return (person.family_name, person.street, place)
