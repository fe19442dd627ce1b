"""Shares of the levels of a comparison. Pure."""

from collections.abc import Sequence


def whole(shares: Sequence[float], least: float) -> list[float]:
    """They add up to one; none is less than nearly `least`. Of the levels that aren't null."""
    raised = [max(share, least) for share in shares]
    total = sum(raised)
    return [share / total for share in raised]
