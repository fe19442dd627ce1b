"""Compiles and evaluates expressions over declared variables.

What can't be evaluated (a trait that is missing, a text where a number is needed) is no error: it has no value.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cel_expr_python import cel

from services.profile.domain.expressions.bounds import MAX_CHARACTERS, objections
from services.profile.domain.expressions.contradictions import contradictions
from services.profile.domain.expressions.instants import INSTANT, reading_instants
from services.profile.domain.expressions.plain import ASK, INT_END, plain_of
from services.profile.domain.expressions.possible import Constant, constants, constants_below, is_constant, never_boolean
from services.profile.domain.expressions.tree import Node, Tree, listed, read, write
from shared.errors import InvalidInput
from shared.instants import EPOCH

Kind = cel.Type
# Nothing else is taken out of a result: for each null in it, cel-expr-python 0.1.3 gives a reference to None back that it never
# took, and an interpreter before 3.12 aborts when none is left.
_SCALARS: Final = frozenset(
    kind.name() for kind in (*(Kind.BOOL, Kind.INT, Kind.UINT, Kind.DOUBLE), Kind.STRING, Kind.TIMESTAMP, Kind.DURATION)
)
Objections = Callable[[Node], Iterator[tuple[Node, str]]]  # parts of an expression, and why each can't be
_PLAIN: Final = (Kind.BOOL, Kind.INT, Kind.DOUBLE, Kind.TIMESTAMP, Kind.DURATION)
_PLACE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")


# Declared for its type alone: it is written out in CEL. (What a function in Python returns is never freed, in 0.1.3.)
_INSTANT_OF_TEXT = cel.Overload("instant_dyn", return_type=Kind.TIMESTAMP, parameters=[Kind.DYN])


class Values:
    """What the variables of a language are at one evaluation. Several expressions may share it; each is evaluated once."""

    __slots__ = ("_activation", "_environment", "content", "results")

    def __init__(self, environment: Any, content: Mapping[str, Any]) -> None:
        self.content = content
        self.results: dict[Expression, Any] = {}
        self._environment = environment
        self._activation: Any = None

    @property
    def activation(self) -> Any:
        """For the runtime: made when it is needed. Numbers beyond 64 bits with a sign become floating, as CEL has none that large."""
        if self._activation is None:
            self._activation = self._environment.Activation({name: _fitting(value) for name, value in self.content.items()})
        return self._activation

    def __repr__(self) -> str:
        return "<Values sealed>"


class Expression:
    """Compiled. `tree` is what it was compiled to."""

    def __init__(self, text: str, compiled: Any, tree: Tree) -> None:
        self.text = text
        self.tree = tree
        self._compiled = compiled
        self._plain = plain_of(tree.root)

    def evaluate(self, values: Values) -> Any:
        """A scalar; None when it has no value, or one of another kind."""
        if self in values.results:
            return values.results[self]
        value = ASK if self._plain is None else self._plain(values.content)
        if value is ASK:
            value = self._evaluated(values)
        values.results[self] = value
        return value

    @property
    def variables(self) -> frozenset[str]:
        """Those that it looks at."""
        return frozenset(node.name for node in self.tree.root.walk() if node.kind == "identifier")

    def _evaluated(self, values: Values) -> Any:
        try:
            result = self._compiled.eval(values.activation)
            return result.plain_value() if result.type().name() in _SCALARS else None
        except (RuntimeError, ValueError, OverflowError):  # beyond its rounds, or beyond what a datetime can say
            return None


class Language:
    """Variables with their types. A name with dots is one variable: `event.name`."""

    def __init__(self, variables: Mapping[str, cel.Type]) -> None:
        functions = [cel.FunctionDecl(INSTANT, [_INSTANT_OF_TEXT])]
        self._environment = cel.NewEnv(variables=dict(variables), functions=functions)
        self._compiled: dict[tuple[str, tuple[Any, ...]], Expression] = {}
        self._plain = frozenset(name for name, kind in variables.items() if kind in _PLAIN)

    def values(self, content: Mapping[str, Any]) -> Values:
        return Values(self._environment, content)

    def compile(self, text: str, where: str, *wanted: cel.Type) -> Expression:
        """`wanted` are the types that the result may have; any, if there are none. The same text is compiled once.

        Raises InvalidInput (RULES_INVALID).
        """
        asked = (text, tuple(kind.name() for kind in wanted))
        if asked not in self._compiled:
            self._compiled[asked] = self._compile(text, where, *wanted)
        return self._compiled[asked]

    def _compile(self, text: str, where: str, *wanted: cel.Type) -> Expression:
        if len(text) > MAX_CHARACTERS:
            raise invalid(where, f"an expression has at most {MAX_CHARACTERS} characters")
        try:
            compiled = self._environment.compile(text)
            kind = compiled.return_type()
        except RuntimeError as error:
            raise invalid(*_told(where, str(error))) from None
        if wanted and kind not in wanted:
            raise invalid(where, f"it has to be {' or '.join(one.name().lower() for one in wanted)}, and is {kind.name().lower()}")
        tree = read(compiled.serialize())
        for objection in objections(tree, self._plain):
            raise invalid(where, objection)
        return self._with_instants(text, tree)

    def check(
        self,
        expression: Expression,
        where: str,
        *,
        is_condition: bool,
        kinds: Collection[cel.Type] = (),
        objections: Objections = lambda root: iter(()),
    ) -> None:
        """Raises InvalidInput (RULES_INVALID) where it can't come to anything, whatever it is given; `kinds` are the types that it may
        have, any if there are none, and `objections` those of whoever knows what the variables are.

        Of what is taken only, not of what was once: which time zones there are depends on the machine.
        """
        compiled = self._environment.compile(expression.text)
        tree = read(compiled.serialize())
        found = [(part, "true or false is due here, and this is never either") for part in never_boolean(tree, is_condition)]
        if is_condition:
            found += [(part, "this can't hold, or not with what stands before it") for part in contradictions(tree.root)]
        for part, why in [*found, *objections(tree.root)]:
            raise invalid(_place(where, expression.text, tree.position_of(part)), why)
        if kinds and (kind := compiled.return_type()) not in kinds:
            due = ", ".join(one.name().lower() for one in kinds if one != Kind.DYN)
            raise invalid(where, f"it is {kind.name().lower()}, and never one of {due}")
        self._check_constants(expression, tree, where, is_condition=is_condition)

    def _check_constants(self, expression: Expression, tree: Tree, where: str, *, is_condition: bool) -> None:
        if (found := self._without_value(expression, list(constants(tree.root)))) is not None:
            raise invalid(_place(where, expression.text, tree.position_of(found.part)), found.hint)
        if is_condition and is_constant(tree.root) and expression.evaluate(self.values({})) is not True:
            raise invalid(where, "it holds for nothing, whatever there is")

    def _without_value(self, expression: Expression, found: list[Constant]) -> Constant | None:
        """One of them, as far inside as there is one. All are asked at once: what makes an expression costs 100 times what it does."""
        if not found or not self._has_error(expression, found):
            return None
        if len(found) == 1:
            return self._without_value(expression, list(constants_below(found[0].part))) or found[0]
        half = len(found) // 2
        return self._without_value(expression, found[:half]) or self._without_value(expression, found[half:])

    def _has_error(self, expression: Expression, found: list[Constant]) -> bool:
        asked = listed(tuple(reading_instants(expression.tree, one.stands_for) for one in found), 0)
        try:
            result = self.derived(expression, asked)._compiled.eval(self._environment.Activation({}))
        except RuntimeError:  # as where an instant stands in a map that is written out
            return True
        return bool(result.type() == Kind.ERROR)

    def constant(self, expression: Expression, part: Node) -> Any:
        """What a part of it that looks at no variable comes to; None: nothing."""
        return self.derived(expression, part).evaluate(self.values({}))

    def derived(self, expression: Expression, root: Node) -> Expression:
        """Another expression made of nodes of one that was compiled."""
        return Expression(expression.text, self._environment.deserialize(write(expression.tree, root)), expression.tree)

    def _with_instants(self, text: str, tree: Tree) -> Expression:
        root = reading_instants(tree, tree.root)
        serialized = write(tree, root)
        return Expression(text, self._environment.deserialize(serialized), tree._replace(root=root))


def instant_of(at: int) -> datetime:
    """Of microseconds since 1970, as expressions have it."""
    return EPOCH + timedelta(microseconds=at)


def invalid(where: str, why: str) -> InvalidInput:
    return InvalidInput(f"{where}: {why}", reason="RULES_INVALID")


def _fitting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _fitting(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_fitting(part) for part in value]
    return float(value) if isinstance(value, int) and not -INT_END <= value < INT_END else value


def _place(where: str, text: str, position: int) -> str:
    before = text[:position]
    return f"{where}, line {before.count(chr(10)) + 1}, column {position - before.rfind(chr(10))}"


def _told(where: str, error: str) -> tuple[str, str]:
    """The place and the reason, without the picture that the compiler draws."""
    found = _PLACE.search(error)
    if found is None:
        return where, "this can't be compiled: it is nested too deeply (32 levels at most), or a map has keys that can't be any"
    line, column, why = found.groups()
    return (where if int(line) < 0 else f"{where}, line {line}, column {column}"), why
