"""The household trap: a model that learnt "lives together" where it should have learnt "is one person". Pure.

It shows in what a different given name or birth date says: next to nothing, since the family members among the supposed
matches have different ones.
"""

from services.identity.matching.model import Model
from services.identity.matching.record import Person
from services.identity.matching.score import Scorer

FATHER = Person(
    given_name="peter",
    family_name="abernathy",
    birth_date="1960-01-02",
    street="12 long lane",
    postcode="40001",
    city="springfield",
    email="home@example.com",
    phone="+15550100",
)
DAUGHTER = FATHER._replace(given_name="susan", birth_date="1994-11-27")
LEAST_AGAINST = 3.0  # bits that a different given name and birth date have to weigh, together


class HouseholdTrap(Exception):
    """Families would become one person."""


def refuse_household_trap(model: Model) -> None:
    """Of two who share all that a family shares. Whether they are linked is up to the veto; the weight shouldn't need it."""
    explained = Scorer(model).explain(FATHER, DAUGHTER)
    against = -sum(part.weight for part in explained.parts if part.comparison in ("given_name", "birth_date"))
    if against < LEAST_AGAINST:
        raise HouseholdTrap(
            f"another given name and birth date weigh {against:.1f} bits against, less than {LEAST_AGAINST}: the records"
            " look as if families were people; train on records that hold several of one person"
        )
