"""Made-up people for the model that a fresh install has: households of several countries, seen by several sources, with noise.

Names are drawn as often as they are in each country (Faker's lists). What noise does is written here and nowhere measured.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from services.identity.matching.record import Record, make_record

RECORDS = 12_000  # people
PRECISION = 0.999  # expected of the links of the shipped model: it is used on records that it has never seen
COUNTRIES = {"en_US": 4, "en_GB": 2, "de_DE": 2, "fr_FR": 1, "es_ES": 1, "it_IT": 1, "nl_NL": 1, "pl_PL": 1}
HOUSEHOLD_SIZES = (1, 1, 1, 2, 2, 2, 3, 4, 4, 5)
TIMES_SEEN = (1, 1, 2, 2, 3, 4)
SOURCES = ("shop", "crm", "service", "survey")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FAMILY_BORN = ((1935, 1990), (1935, 1990), (1990, 2019), (1990, 2019), (1930, 2019))  # by place in the household

Raw = dict[str, str]


@dataclass(frozen=True)
class Home:
    family_name: str
    street: str
    street_number: str
    postcode: str
    city: str
    email: str
    phone: str


def make_records(people: int, seed: int) -> list[Record]:
    """Always the same for a seed. Their ids tell who is who: person/number."""
    chance = random.Random(seed)  # noqa: S311 # nosec B311
    found = []
    for number, raw in enumerate(_people(people, seed, chance)):
        for time, source in enumerate(chance.sample(SOURCES, min(chance.choice(TIMES_SEEN), len(SOURCES)))):
            found.append(make_record(f"{number:06}/{time}", source, _noised(raw, chance)))
    return found


def _people(count: int, seed: int, chance: random.Random) -> Iterator[Raw]:
    makers = _makers(seed)
    made = 0
    while made < count:
        country = chance.choices(list(COUNTRIES), list(COUNTRIES.values()))[0]
        home = _home(makers[country], chance)
        for place in range(min(chance.choice(HOUSEHOLD_SIZES), count - made)):
            made += 1
            yield _person(makers[country], home, place, chance)


def _makers(seed: int) -> dict[str, Any]:
    import faker

    found = {country: faker.Faker(country) for country in COUNTRIES}
    for maker in found.values():
        maker.seed_instance(seed)
        _in_order(maker.provider("faker.providers.address"))
    return found


def _in_order(places: Any) -> None:
    """Faker has the cities of Italy from a set: in another order, hence others for the same seed, in each process."""
    if hasattr(places, "cities"):
        places.cities = sorted(places.cities)


def _home(maker: Any, chance: random.Random) -> Home:
    family = maker.last_name()
    return Home(
        family_name=family,
        street=maker.street_name(),
        street_number=str(chance.randint(1, 250)),
        postcode=maker.postcode(),
        city=maker.city(),
        email=f"family.{family}{chance.randint(1, 999)}@example.com",
        phone=f"+1{chance.randint(2_000_000_000, 9_999_999_999)}",
    )


def _person(maker: Any, home: Home, place: int, chance: random.Random) -> Raw:
    given, middle = maker.first_name(), maker.first_name()
    first, last = FAMILY_BORN[place]
    if place == 1 and chance.random() < 0.2:
        home = replace(home, family_name=maker.last_name())
    own_mail = f"{given}.{home.family_name}{chance.randint(1, 9999)}@example.com"
    own_phone = f"+1{chance.randint(2_000_000_000, 9_999_999_999)}"
    return {
        "given_name": given,
        "middle_name": middle,
        "family_name": home.family_name,
        "birth_date": f"{chance.randint(first, last)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "street": home.street,
        "street_number": home.street_number,
        "postcode": home.postcode,
        "city": home.city,
        "email": (home.email if chance.random() < 0.25 else own_mail).replace(" ", ""),
        "phone": home.phone if chance.random() < 0.4 else own_phone,
        "national_id": str(chance.randint(10_000_000, 999_999_999)),
    }


MISSING = {"national_id": 0.7, "middle_name": 0.5, "email": 0.3, "phone": 0.3, "birth_date": 0.15}
MISSING_OTHERWISE = 0.04
SLIP = 0.06  # of each value


def _noised(person: Raw, chance: random.Random) -> Raw:
    raw = dict(person)
    for happens, change in CHANGES:
        if chance.random() < happens:
            change(raw, chance)
    for name in list(raw):
        if chance.random() < MISSING.get(name, MISSING_OTHERWISE):
            del raw[name]
        elif chance.random() < SLIP:
            raw[name] = _slip(raw[name], chance)
    return raw


def _slip(text: str, chance: random.Random) -> str:
    """A letter or digit wrong, left out, doubled, or in its neighbour's place."""
    place = chance.randrange(len(text))
    other = chance.choice("0123456789" if text[place].isdigit() else LETTERS)
    here, following = text[place], text[place + 1 : place + 2]
    changed = chance.choice((other, "", here + here, following + here))
    return text[:place] + changed + text[place + 1 + (changed == following + here and len(following)) :]


def _move(raw: Raw, chance: random.Random) -> None:
    raw |= {
        "street": f"{chance.choice(LETTERS).upper()}{raw['street'][::-1].lower()}",
        "street_number": str(chance.randint(1, 250)),
    }
    if chance.random() < 0.5:
        raw |= {"postcode": str(chance.randint(10_000, 99_999)), "city": f"New {raw['city']}"}


def _swap_names(raw: Raw, chance: random.Random) -> None:
    raw["given_name"], raw["family_name"] = raw["family_name"], raw["given_name"]


def _initial(raw: Raw, chance: random.Random) -> None:
    raw["given_name"] = raw["given_name"][0]


def _middle_as_given(raw: Raw, chance: random.Random) -> None:
    raw["given_name"] = raw["middle_name"]


def _marry(raw: Raw, chance: random.Random) -> None:
    raw["family_name"] = "".join(chance.sample(LETTERS, 7))


def _day_for_month(raw: Raw, chance: random.Random) -> None:
    year, month, day = raw["birth_date"].split("-")
    raw["birth_date"] = f"{year}-{day}-{month}"


def _other_date(raw: Raw, chance: random.Random) -> None:
    raw["birth_date"] = f"{chance.randint(1930, 2019)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"


def _new_mail(raw: Raw, chance: random.Random) -> None:
    raw["email"] = f"{''.join(chance.sample(LETTERS, 8))}@example.net"


def _new_phone(raw: Raw, chance: random.Random) -> None:
    raw["phone"] = f"+1{chance.randint(2_000_000_000, 9_999_999_999)}"


CHANGES: tuple[tuple[float, Callable[[Raw, random.Random], None]], ...] = (
    (0.10, _move),
    (0.02, _swap_names),
    (0.02, _initial),
    (0.03, _middle_as_given),
    (0.03, _marry),
    (0.02, _day_for_month),
    (0.02, _other_date),
    (0.15, _new_mail),
    (0.15, _new_phone),
)
