"""Which pairs are looked at: those that share a block key. Pure; a pair depends on the set of records, never on their order.

A block over its cap says nothing about who is who (a kiosk, a firm's address, a default date): it is retired with the pairs
that it alone proposed, and is back when it is below the cap again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import combinations, product

import jellyfish

from services.identity.matching.record import Person
from shared.identifiers import KEPT_TEXTS

MAX_BLOCK_RECORDS = 80  # a record meets at most this many in each block: bounds the work of one record
SEPARATOR = "\x1f"
PREFIX_LETTERS = 3

Values = tuple[str, ...]
Part = Callable[[Person], Values]  # what may stand in a key; several make several keys
Pair = tuple[str, str]  # ids, in order


def keys(person: Person) -> list[str]:
    """Opaque to everybody else: hash them with a key before they are stored."""
    return [
        SEPARATOR.join((name, *values)) for name, parts in KEYS.items() for values in product(*(part(person) for part in parts))
    ]


@lru_cache(maxsize=KEPT_TEXTS)
def sound(name: str) -> str:
    """Soundex where it has a meaning, the beginning in other scripts."""
    return jellyfish.soundex(name) if name.isascii() else name[:PREFIX_LETTERS]


def _one(column: str) -> Part:
    place = Person._fields.index(column)

    def values(person: Person) -> Values:
        found = person[place]
        return () if found is None else (found,)

    return values


def _sounds(person: Person) -> Values:
    """Of either name, as forms and people swap them."""
    return tuple({sound(name) for name in (person.given_name, person.family_name) if name})


def _both_sounds(person: Person) -> Values:
    if not person.given_name or not person.family_name:
        return ()
    return (SEPARATOR.join(sorted((sound(person.given_name), sound(person.family_name)))),)


def _year(person: Person) -> Values:
    return (person.birth_date[:4],) if person.birth_date else ()


def _beginning(person: Person) -> Values:
    return (person.given_name[:PREFIX_LETTERS],) if person.given_name else ()


_birth, _street, _postcode, _city = _one("birth_date"), _one("street"), _one("postcode"), _one("city")

# What is selective in a small installation is over its cap in a large one, and a narrower key of the same field takes over.
KEYS: Mapping[str, tuple[Part, ...]] = {
    "national id": (_one("national_id"),),
    "email": (_one("email"),),
    "phone": (_one("phone"),),
    "birth": (_birth,),
    "birth, name": (_birth, _sounds),
    "birth, postcode": (_birth, _postcode),
    "street": (_street,),
    "street, given": (_street, _beginning),
    "names": (_both_sounds,),
    "names, year": (_both_sounds, _year),
    "postcode, name": (_postcode, _sounds),
    "postcode, year": (_postcode, _year),
    "city, name": (_city, _sounds),
}


def pairs(keys_of: Mapping[str, Iterable[str]], cap: int = MAX_BLOCK_RECORDS) -> set[Pair]:
    """All at once; `records/proposing` keeps the same up to date."""
    blocks: dict[str, list[str]] = defaultdict(list)
    for record_id, record_keys in keys_of.items():
        for key in set(record_keys):
            blocks[key].append(record_id)
    return {pair for members in blocks.values() if len(members) <= cap for pair in combinations(sorted(members), 2)}
