"""Shares of the levels of a comparison: they add up to one, or, of the address, to one for each half. Pure.

The levels of the address come in twos (`comparisons`): of one family name, and not. One person's address agrees as often
in either half, so m is the same in both; u is not, since families live together.
"""

from collections.abc import Sequence

TWOFOLD = "address"
LEAST_SEEN = 20.0  # pairs: as if so many more of one family name had been seen, who agree no more often than others


def tie_m(name: str, shares: Sequence[float], least: float) -> list[float]:
    """Of the levels that aren't null, in their order."""
    if name != TWOFOLD:
        return _whole([max(share, least) for share in shares])
    together = _whole([max(one + other, least) for one, other in zip(shares[::2], shares[1::2], strict=True)])
    return [share for share in together for _ in range(2)]


def tie_u(name: str, shares: Sequence[float], least: float, pairs: float) -> list[float]:
    """`pairs` is how many random pairs there were. What was hardly seen of one family name is taken from the other half."""
    if name != TWOFOLD:
        return _whole([max(share, least) for share in shares])
    others = _whole([max(share, least) for share in shares[1::2]])
    family = _whole([share * pairs + other * LEAST_SEEN for share, other in zip(shares[::2], others, strict=True)])
    return [share for both in zip(family, others, strict=True) for share in both]


def _whole(shares: Sequence[float]) -> list[float]:
    total = sum(shares)
    return [share / total for share in shares]
