"""The conditions of a model's levels: the SQL that Splink writes for them, read into functions of two persons. Pure.

What is understood: equality, IS NULL, AND, OR, ELSE, and the distances below against a number. A comparison with something
unknown is false, as a CASE in SQL takes it; there is no NOT, for which that would not do.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import DamerauLevenshtein, Jaro, JaroWinkler, Levenshtein

from services.identity.matching.record import Person

Values = Sequence[str | None]
Condition = Callable[[Values, Values], bool]

# Of the same C++ as DuckDB's. On code points, where DuckDB takes bytes: what differs is text outside ASCII.
SIMILARITIES: dict[str, Callable[..., float]] = {
    "jaro_winkler_similarity": JaroWinkler.similarity,
    "jaro_similarity": Jaro.similarity,
    "levenshtein": Levenshtein.distance,
    "damerau_levenshtein": DamerauLevenshtein.distance,
}
COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
TOKEN = re.compile(r'\s*(?:(>=|<=|[()=,<>])|"([^"]+)"|(\d+(?:\.\d+)?)|([A-Za-z_]\w*))')
COLUMN = re.compile(r"(\w+)_([lr])")


class ModelInvalid(Exception):
    """A model that can't be read; the text says where."""


@dataclass(frozen=True, slots=True)
class Read:
    """`exact` are the columns whose equality, and nothing else, the condition asks for; `columns` all that it looks at."""

    holds: Condition
    exact: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()


def read(sql: str) -> Read:
    return _Reader(sql).read()


class _Reader:
    """OR over AND over brackets and comparisons, as in SQL."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = self._split(sql)
        self._place = 0

    def read(self) -> Read:
        found = self._any()
        if self._place != len(self._tokens):
            raise self._wrong()
        return found

    def _split(self, sql: str) -> list[str]:
        tokens, place = [], 0
        sql = sql.strip()
        while place < len(sql):
            match = TOKEN.match(sql, place)
            if match is None:
                raise self._wrong()
            tokens.append(next(group for group in match.groups() if group is not None))
            place = match.end()
        return tokens

    def _wrong(self) -> ModelInvalid:
        return ModelInvalid(f"a level's condition that is not understood: {self._sql}")

    def _next(self) -> str:
        if self._place == len(self._tokens):
            raise self._wrong()
        self._place += 1
        return self._tokens[self._place - 1]

    def _skip(self, word: str) -> bool:
        found = self._place < len(self._tokens) and self._tokens[self._place].upper() == word
        self._place += found
        return found

    def _expect(self, word: str) -> None:
        if not self._skip(word):
            raise self._wrong()

    def _any(self) -> Read:
        found = self._all()
        while self._skip("OR"):
            other = self._all()
            found = Read(_either(found.holds, other.holds), columns=found.columns | other.columns)
        return found

    def _all(self) -> Read:
        found = self._one()
        while self._skip("AND"):
            other = self._one()
            exact = found.exact | other.exact if found.exact and other.exact else frozenset[str]()
            found = Read(_both(found.holds, other.holds), exact, found.columns | other.columns)
        return found

    def _one(self) -> Read:
        if self._skip("("):
            found = self._any()
            self._expect(")")
            return found
        word = self._next()
        if word.upper() in {"ELSE", "TRUE"}:
            return Read(lambda _one, _other: True)
        if word.lower() in SIMILARITIES:
            return self._distance(word.lower())
        column, left = self._column(word)
        if self._skip("IS"):
            self._expect("NULL")
            return Read(_missing(column, left), columns=_names(column))
        self._expect("=")
        other, other_left = self._column(self._next())
        if left == other_left:
            raise self._wrong()
        exact = _names(column) if column == other else frozenset[str]()
        return Read(_equal(column, other) if left else _equal(other, column), exact, _names(column, other))

    def _distance(self, name: str) -> Read:
        self._expect("(")
        one, left = self._column(self._next())
        self._expect(",")
        other, other_left = self._column(self._next())
        self._expect(")")
        compare, limit = COMPARE.get(self._next()), self._next()
        if left == other_left or compare is None:
            raise self._wrong()
        order = (one, other) if left else (other, one)
        return Read(_within(SIMILARITIES[name], *order, compare, float(limit)), columns=_names(one, other))

    def _column(self, token: str) -> tuple[int, bool]:
        match = COLUMN.fullmatch(token)
        if match is None or match[1] not in Person._fields:
            raise self._wrong()
        return Person._fields.index(match[1]), match[2] == "l"


def _names(*columns: int) -> frozenset[str]:
    return frozenset(Person._fields[column] for column in columns)


def _either(one: Condition, other: Condition) -> Condition:
    return lambda left, right: one(left, right) or other(left, right)


def _both(one: Condition, other: Condition) -> Condition:
    return lambda left, right: one(left, right) and other(left, right)


def _missing(column: int, left: bool) -> Condition:
    if left:
        return lambda one, _other: one[column] is None
    return lambda _one, other: other[column] is None


def _equal(column: int, other_column: int) -> Condition:
    return lambda one, other: one[column] is not None and one[column] == other[other_column]


def _within(
    measure: Callable[..., float], column: int, other_column: int, compare: Callable[[float, float], bool], limit: float
) -> Condition:
    def holds(one: Values, other: Values) -> bool:
        left, right = one[column], other[other_column]
        return left is not None and right is not None and compare(measure(left, right), limit)

    return holds
