"""What two of a family share: a third kind of pair, beside one person's records and those of strangers. Pure.

Two of a family have the same address and name, often one telephone or mailbox, and each a given name and a birth date. Counted
field by field that would be one person. So it is asked of each pair how often two of a family would look like it.
"""

from collections.abc import Collection
from typing import Annotated

import msgspec

# What a person has alone. Families share the rest.
PERSONAL = frozenset({"given_name", "middle_initial", "birth_date", "national_id"})
NEARLY_THE_SAME = 5.0  # bits of a given name; the names of twins, Lena and Lina, weigh less

Part = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """`share`: how many pairs are of a family, for one pair of strangers; with none, weights are Fellegi's and Sunter's.

    `shared`: by comparison, how many pairs of a family agree in it as one person's records do; the others agree as strangers do.
    `twins`: how many have one birth date, and other given names: twins, and who is entered with the date of another.
    `absent`: of the people of one source, how many another lacks. Only who is absent can be told by nobody but family.
    """

    share: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    shared: dict[str, Part] = {}
    twins: Part = 0.0
    absent: Part = 1.0

    def odds(self, times: float, twin: float) -> float:
        """Of a family and not strangers. `times`, `twin`: how many times as often as strangers a family agrees so, and its twins."""
        return self.share * times * (1.0 - self.twins + self.twins * twin)


NO_FAMILIES = Family()


def is_personal(columns: Collection[str]) -> bool:
    """Whether a comparison is about something that a person has alone. `columns` are those that it is about."""
    return not PERSONAL.isdisjoint(columns)


def as_twin(columns: Collection[str], weight: float) -> float:
    """How many times as often as others of a family twins agree so. `weight`: bits of the level."""
    if "birth_date" in columns:
        odds: float = 2.0**weight
        return odds
    return 0.0 if "given_name" in columns and weight >= NEARLY_THE_SAME else 1.0
