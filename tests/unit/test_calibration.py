"""Where the bands of a trained model stand, and what its halves share."""

import pytest

from services.identity.matching.model import weight_of
from services.identity.training.expected import expect, link_weight
from services.identity.training.tied import tie_m, tie_u


def test_links_are_as_precise_as_asked_and_as_many_as_that_allows() -> None:
    weights = [weight_of(probability) for probability in (0.9999, 0.999, 0.99, 0.9, 0.6)]
    assert link_weight(weights, 0.98) == pytest.approx(weight_of(0.98)), "what is as likely as that is linked in any case"
    assert link_weight(weights, 0.95) == pytest.approx(weight_of(0.9))
    assert expect(weights, link_weight(weights, 0.95)).precision >= 0.95


def test_what_is_less_likely_than_not_is_never_linked() -> None:
    weights = [weight_of(0.999999)] * 1_000 + [weight_of(0.51), weight_of(0.49)]
    assert link_weight(weights, 0.9) == weight_of(0.51)


def test_where_nothing_is_sure_the_threshold_is_the_precision_itself() -> None:
    assert link_weight([weight_of(0.7)], 0.99) == weight_of(0.99)
    assert link_weight([], 0.99) == weight_of(0.99)


def test_one_persons_address_agrees_as_often_whatever_the_family_name() -> None:
    assert tie_m("address", [0.6, 0.1, 0.2, 0.1], 1e-4) == pytest.approx([0.7, 0.7, 0.3, 0.3])
    assert tie_m("phone", [0.6, 0.0, 0.4], 0.25) == pytest.approx([0.48, 0.2, 0.32])


def test_families_share_an_address_and_a_few_pairs_prove_nothing() -> None:
    """Of 10 million random pairs 10,000 are of one family name; 2,000 of these live together."""
    same, other, different_same, different = tie_u("address", [0.0002, 0.0001, 0.0008, 0.9989], 1e-8, 10_000_000)
    assert same == pytest.approx(0.2, rel=0.01)
    assert other == pytest.approx(0.0001, rel=0.01)
    assert same + different_same == pytest.approx(1)
    assert other + different == pytest.approx(1)
    few = tie_u("address", [0.1, 0.0001, 0.0, 0.8999], 1e-8, 10)[0]
    assert few < 0.1, "one pair is no share"
