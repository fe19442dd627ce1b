"""What no weight overrules."""

from services.identity.matching.judge import Judge, veto
from services.identity.matching.model import default
from services.identity.matching.record import Person, Record
from services.identity.training.trap import DAUGHTER, FATHER, refuse_household_trap

JUDGE = Judge(default())


def record(person: Person, **unique: str) -> Record:
    return Record("r", "crm", person, unique)


def test_the_shipped_model_links_one_person_and_asks_about_a_doubt() -> None:
    moved = FATHER._replace(street="7 short road", postcode="90210", city="shelbyville")
    found = JUDGE(record(FATHER), record(moved))
    assert found is not None
    assert found.band == "link"
    assert found.veto is None


def test_what_a_family_shares_never_makes_one_person_of_two() -> None:
    nameless = FATHER._replace(given_name=None, birth_date=None)
    found = JUDGE(record(FATHER), record(nameless))
    assert found is not None
    assert found.band == "review"


def test_another_given_name_and_birth_date_forbid() -> None:
    assert veto(record(FATHER), record(DAUGHTER)) == "NAME_AND_BIRTH_DISAGREE"
    assert veto(record(FATHER), record(DAUGHTER._replace(birth_date=None))) is None
    assert veto(record(FATHER), record(DAUGHTER._replace(given_name="p"))) is None, "an initial"


def test_twins_and_father_and_son_of_one_name_are_two() -> None:
    ann = FATHER._replace(given_name="ann", middle_initial="l")
    twin = ann._replace(given_name="charlotte", middle_initial="k")
    assert veto(record(ann), record(twin)) == "NAME_AND_INITIAL_DISAGREE"
    assert veto(record(ann), record(twin._replace(middle_initial=None))) is None
    assert veto(record(ann), record(ann._replace(given_name="louise", middle_initial="a"))) is None, "goes by her middle name"
    son = FATHER._replace(birth_date="1994-11-27", middle_initial="b")
    assert veto(record(FATHER._replace(middle_initial="c")), record(son)) == "INITIAL_AND_BIRTH_DISAGREE"


def test_another_unique_identifier_forbids_whatever_else_agrees() -> None:
    assert veto(record(FATHER, user_id="1"), record(FATHER, user_id="2")) == "DIFFERENT_UNIQUE_ID"
    assert veto(record(FATHER, user_id="1"), record(FATHER, loyalty="2")) is None


def test_the_shipped_model_is_not_in_the_household_trap() -> None:
    refuse_household_trap(JUDGE.model)
    assert "made-up people" in JUDGE.model.trained_on
