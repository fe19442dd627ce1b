"""What is learnt of families beside the rest: from made-up counts of agreements, of which it is known what they are of."""

from collections import Counter
from itertools import product

import msgspec
import pytest

from services.identity.matching.family import NEARLY_THE_SAME
from services.identity.matching.model import Level
from services.identity.matching.record import Record
from services.identity.matching.score import Scorer
from services.identity.training.absent import absent
from services.identity.training.maximise import Maximised, Pattern, maximise
from tests.properties.messy_records import SETTINGS, make_model, person

MODEL = make_model()
ALL_PAIRS = 50_000_000
PEOPLE = 3_000  # pairs of one person
SHARED = {"family_name": 0.9, "street": 0.9, "email": 0.2, "phone": 0.4}


def agreements(people: int, families: int, twins: float) -> Counter[Pattern]:
    """Of all pairs, as often as each is expected."""
    found = Counter[Pattern]()
    for places in product(*(range(1, len(comparison.levels)) for comparison in MODEL.comparisons)):
        kinds = [people, families * (1 - twins), families * twins, ALL_PAIRS - people - families]
        for comparison, place in zip(MODEL.comparisons, places, strict=True):
            level = comparison.levels[place]
            kinds = [kind * share for kind, share in zip(kinds, _shares(comparison.name, level), strict=True)]
        found[places, (0,) * len(places)] = round(sum(kinds))
    return found


def _shares(name: str, level: Level) -> tuple[float, float, float, float]:
    """Of one person, a family, twins in it, and strangers."""
    m, u, shared = level.m or 0.0, level.u or 0.0, SHARED.get(name, 0.0)
    family = shared * m + (1 - shared) * u
    twins = {"birth_date": m, "given_name": u * (level.weight < NEARLY_THE_SAME)}
    return m, family, twins.get(name, family), u


def learnt(people: int, families: int, twins: float = 0.0) -> Maximised:
    return maximise(MODEL, agreements(people, families, twins), ALL_PAIRS, 1e-4)


def test_families_are_found_and_what_they_share() -> None:
    found = learnt(PEOPLE, families=4_000)
    assert found.prior * ALL_PAIRS == pytest.approx(PEOPLE, rel=0.02)
    assert found.family.share * ALL_PAIRS == pytest.approx(4_000, rel=0.15)
    for name, share in SHARED.items():
        assert found.family.shared[name] == pytest.approx(share, abs=0.08)


def test_one_persons_fields_differ_as_often_as_they_do_whether_there_are_families_or_not() -> None:
    without, among = learnt(PEOPLE, families=0), learnt(PEOPLE, families=4_000)
    for one, other in zip(without.m, among.m, strict=True):
        assert one == pytest.approx(other, abs=0.02)


def test_who_shares_all_that_a_family_shares_is_one_person_only_where_there_are_no_families() -> None:
    at_home = person(family_name="smith", street="1 main st", email="a@x.example", phone="+15550100")
    for families, expected in ((0, True), (4_000, False)):
        found = learnt(PEOPLE, families)
        settings = SETTINGS | {"probability_two_random_records_match": found.prior}
        model = make_model(settings, family=msgspec.to_builtins(found.family))
        assert (Scorer(model).weigh(at_home, at_home) > model.link_weight) is expected


def test_twins_are_found_and_nobody_is_a_twin_where_there_are_no_families() -> None:
    assert learnt(PEOPLE, families=4_000, twins=0.03).family.twins == pytest.approx(0.03, abs=0.01)
    assert learnt(PEOPLE, families=4_000).family.twins < 0.005


def test_a_few_records_do_not_say_that_there_are_no_families() -> None:
    found = learnt(30, families=0)
    assert found.family.share > found.prior / 3


def test_a_family_never_shares_what_a_person_has_alone() -> None:
    assert learnt(PEOPLE, families=4_000).family.shared.keys() == SHARED.keys()


@pytest.mark.parametrize(("seen_in_both", "lacking"), [(0, 1.0), (500, 0.5), (1_000, 0.0)])
def test_how_many_people_of_a_source_another_lacks_is_learnt(seen_in_both: int, lacking: float) -> None:
    records = [Record(f"{source}{number}", source, person()) for source in ("crm", "shop") for number in range(1_000)]
    linked = [(f"crm{number}", f"shop{number}") for number in range(seen_in_both)]
    assert absent(records, linked) == pytest.approx(lacking, abs=0.02)


def test_of_few_records_and_of_one_source_nobody_concludes_that_all_are_in_the_other() -> None:
    few = [Record(source, source, person()) for source in ("crm", "shop")]
    assert absent(few, [("crm", "shop")]) > 0.9
    assert absent([Record("1", "crm", person()), Record("2", "crm", person())], [("1", "2")]) == 1.0
