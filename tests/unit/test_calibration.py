"""Where the bands of a trained model stand, and shares of its levels."""

import pytest

from services.identity.matching.model import weight_of
from services.identity.training.comparisons import whole
from services.identity.training.expected import expect, link_weight


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


def test_shares_add_up_to_one_and_none_is_nothing() -> None:
    assert whole([0.6, 0.0, 0.4], 0.25) == pytest.approx([0.48, 0.2, 0.32])
