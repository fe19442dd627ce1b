"""What no weight overrules."""

from services.identity.matching.model import default
from services.identity.matching.trap import DAUGHTER, FATHER, refuse_household_trap
from services.identity.matching.veto import veto


def test_another_given_name_and_birth_date_forbid() -> None:
    assert veto(FATHER, DAUGHTER) == "NAME_AND_BIRTH_DISAGREE"
    assert veto(FATHER, DAUGHTER._replace(birth_date=None)) is None
    assert veto(FATHER, DAUGHTER._replace(given_name="p")) is None, "an initial"


def test_twins_and_father_and_son_of_one_name_are_two() -> None:
    ann = FATHER._replace(given_name="ann", middle_initial="l")
    twin = ann._replace(given_name="charlotte", middle_initial="k")
    assert veto(ann, twin) == "NAME_AND_INITIAL_DISAGREE"
    assert veto(ann, twin._replace(middle_initial=None)) is None
    assert veto(ann, ann._replace(given_name="louise", middle_initial="a")) is None, "goes by her middle name"
    son = FATHER._replace(birth_date="1994-11-27", middle_initial="b")
    assert veto(FATHER._replace(middle_initial="c"), son) == "INITIAL_AND_BIRTH_DISAGREE"


def test_the_shipped_model_is_not_in_the_household_trap() -> None:
    refuse_household_trap(default())
    assert "made-up people" in default().trained_on
