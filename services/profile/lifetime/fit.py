"""Maximum likelihood for BG/NBD and Gamma-Gamma, from the papers that `domain/computed/lifetime_value.py` names.

Time and money are scaled before the search, and parameters are searched as logarithms, so that neither currency nor unit matters.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import gammaln

from services.profile.domain.computed.lifetime_value import LifetimeModel
from services.profile.lifetime.reading import Table

MIN_REPEATING = 30  # customers who bought again: of fewer, four parameters say nothing
_STARTS = ((1.0, 1.0, 1.0, 1.0), (0.3, 3.0, 0.5, 3.0))  # of r, alpha, a, b; of p, q, gamma the first three
_SCALED_AGE = 10.0  # the longest observation in the search's own unit of time
_BOUNDS = (-12.0, 12.0)  # of logarithms
# Of squared logarithms. Where customers differ in nothing two parameters would grow without an end, as only their quotient counts;
# where the purchases say anything it is nothing beside that.
_PENALTY = 1e-3
_TOLD_BY = {"r": "rate", "alpha": "rate", "a": "leaving", "b": "leaving", "p": "amounts", "q": "amounts", "gamma": "amounts"}
_REMEDIES = {
    "rate": "how often they buy is nearly the same for all, or extreme: export a longer time, and check that --event names purchases",
    "leaving": "when they stop buying doesn't tell: export a longer time, of more customers",
    "amounts": "what they spend varies too little or too much: check that --value names the amount of a purchase, in one currency",
}

Objective = Callable[[Any], float]


class NotFitted(Exception):
    """There is too little to learn from, or the search doesn't end at a maximum. The text says what to do."""


class Fitted(NamedTuple):
    """`log_likelihood` is BG/NBD's over all customers, in the unit of days."""

    model: LifetimeModel
    log_likelihood: float
    repeating: int


def fit(table: Table, trained_on: str = "") -> Fitted:
    """Raises NotFitted."""
    x, recency, age, money = (np.asarray(column, dtype=float) for column in table)
    again = x > 0
    if int(again.sum()) < MIN_REPEATING:
        raise NotFitted(
            f"{int(again.sum())} customers bought on a second day; it takes {MIN_REPEATING} at least: export more customers or a longer time"
        )
    unit = max(float(age.max()), 1.0) / _SCALED_AGE
    (r, alpha, a, b), found = _best(_bg_nbd(x, recency / unit, age / unit), ("r", "alpha", "a", "b"))
    coin = float(money[again].mean())
    (p, q, gamma), _ = _best(_gamma_gamma(x[again], money[again] / coin), ("p", "q", "gamma"))
    model = LifetimeModel(r=r, alpha=alpha * unit, a=a, b=b, p=p, q=q, gamma=gamma * coin, customers=len(x), trained_on=trained_on)
    if model.objection:
        raise NotFitted(f"{model.objection}; check that --value names the amount of a purchase, in one currency")
    return Fitted(model, -found - float(x.sum()) * float(np.log(unit)), int(again.sum()))


def _bg_nbd(x: Any, recency: Any, age: Any) -> Objective:
    def negative(logarithms: Any) -> float:
        r, alpha, a, b = np.exp(logarithms)
        counted = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        left = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        alive = -(r + x) * np.log(alpha + age)
        # Nobody leaves before the first repetition: minus infinity drops that term.
        gone = np.where(x > 0, np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + recency), -np.inf)
        return -float((counted + left + np.logaddexp(alive, gone)).sum())

    return negative


def _gamma_gamma(x: Any, money: Any) -> Objective:
    def negative(logarithms: Any) -> float:
        p, q, gamma = np.exp(logarithms)
        shape = gammaln(p * x + q) - gammaln(p * x) - gammaln(q) + q * np.log(gamma)
        values = (p * x - 1) * np.log(money) + p * x * np.log(x) - (p * x + q) * np.log(gamma + x * money)
        return -float((shape + values).sum())

    return negative


def _best(negative: Objective, names: Sequence[str]) -> tuple[tuple[float, ...], float]:
    """Parameters, and the negative logarithm of the likelihood there."""

    def penalised(logarithms: Any) -> float:
        return negative(logarithms) + _PENALTY * float((logarithms**2).sum())

    searches = []
    for start in _STARTS:
        rough = minimize(penalised, np.log(start[: len(names)]), method="Nelder-Mead", options={"maxiter": 4_000, "maxfev": 4_000})
        searches.append(minimize(penalised, rough.x, method="L-BFGS-B", bounds=[_BOUNDS] * len(names)))
    found = min(searches, key=lambda search: search.fun)
    astray = [name for name, place in zip(names, found.x, strict=True) if not abs(place) < _BOUNDS[1]]
    if astray or not np.isfinite(found.fun):
        remedies = dict.fromkeys(_REMEDIES[_TOLD_BY[name]] for name in astray or names)
        raise NotFitted(f"the purchases don't fit the models, {' and '.join(astray or names)} run away: {'; '.join(remedies)}")
    return tuple(float(value) for value in np.exp(found.x)), negative(found.x)
