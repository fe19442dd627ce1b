"""An error is told in one way: every class has its gRPC and its HTTP status, and a reason has one status everywhere."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from google.rpc.code_pb2 import Code

from services.ingest.api import answers
from services.profile.http import answers as readers_answers
from shared import errors
from shared.errors import CustomerError
from shared.rpc.errors import to_status

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py") if "cli" not in path.parts)
PROTOS = sorted((ROOT / "protos/c360").rglob("*.proto"))
# Of errors, what doesn't come from the tree: the edge tells them by itself (`shared/rpc/errors.py`), or there is no reason.
OF_THE_EDGE = {"ENVELOPE_BROKEN": "DATA_LOSS", "DEPENDENCY_DOWN": "UNAVAILABLE"}

EXPECTED = {
    errors.InvalidInput: ("INVALID_ARGUMENT", 400),
    errors.NotAuthenticated: ("UNAUTHENTICATED", 401),
    errors.NotFound: ("NOT_FOUND", 404),
    errors.AlreadyExists: ("ALREADY_EXISTS", 409),
    errors.NotPermitted: ("PERMISSION_DENIED", 403),
    errors.WrongState: ("FAILED_PRECONDITION", 409),
    errors.TooLarge: ("FAILED_PRECONDITION", 409),
    errors.VersionGap: ("FAILED_PRECONDITION", 409),
    errors.LogDamaged: ("FAILED_PRECONDITION", 409),
    errors.Conflict: ("ABORTED", 409),
    errors.LimitExceeded: ("RESOURCE_EXHAUSTED", 429),
    errors.DeadlineExceeded: ("DEADLINE_EXCEEDED", 429),
    errors.ProfileFailed: ("INTERNAL", 500),
    errors.Unavailable: ("UNAVAILABLE", 429),
    errors.NotFreshEnough: ("UNAVAILABLE", 429),
    errors.Fenced: ("UNAVAILABLE", 429),
}
# Senders count every answer but 429 against their retries; readers are told what is.
FOR_READERS = {errors.DeadlineExceeded: 504, errors.Unavailable: 503, errors.NotFreshEnough: 503, errors.Fenced: 503}


def kinds(kind: type[CustomerError] = CustomerError) -> Iterator[type[CustomerError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from kinds(child)


BY_NAME = {kind.__name__: kind for kind in kinds()}


def code_of(kind: type[CustomerError]) -> str:
    return str(to_status(kind("text"), "method").code.name)


def test_every_error_of_the_tree_is_in_this_table() -> None:
    assert set(kinds()) == EXPECTED.keys()
    assert len({kind.default_reason for kind in kinds()}) == len(EXPECTED)


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_an_error_has_its_status_at_all_doors(kind: type[CustomerError]) -> None:
    answer = answers.of_error(kind("text"))
    assert (code_of(kind), answer.status_code) == EXPECTED[kind]
    assert ("retry-after" in answer.headers) == (answer.status_code == 429)
    answer = readers_answers.of_error(kind("text"))
    assert answer.status_code == FOR_READERS.get(kind, EXPECTED[kind][1])
    assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))


def told(path: Path) -> Iterator[tuple[str, type[CustomerError]]]:
    """(reason, class) of every error that is made here."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and (kind := BY_NAME.get(ast.unparse(node.func).removeprefix("errors."))):
            reasons = [word.value for word in node.keywords if word.arg == "reason"] + node.args[1:2]
            for reason in reasons or [ast.Constant(kind.default_reason)]:
                if isinstance(reason, ast.Constant):
                    yield str(reason.value), kind


@cache
def codes() -> dict[str, dict[str, set[str]]]:
    """{reason: {status: files}}."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in SOURCES:
        for reason, kind in told(path):
            found[reason][code_of(kind)].add(str(path.relative_to(ROOT)))
    return found


def test_a_reason_has_one_status_in_all_services() -> None:
    several = {reason: dict(by_code) for reason, by_code in codes().items() if len(by_code) > 1}
    assert not several


def documented(path: Path) -> Iterator[tuple[str, str]]:
    """(status, reason) of what comments name: STATUS (REASON, REASON: why)."""
    text = re.sub(r"\n\s*//", "", path.read_text())
    for code, inside in re.findall(rf"\b({'|'.join(Code.keys())})\s*\(([^)]*)\)", text):
        for reason in re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", inside):
            yield code, reason


@pytest.mark.parametrize("path", PROTOS, ids=lambda path: path.stem)
def test_the_protos_say_what_the_services_answer(path: Path) -> None:
    known = {reason: next(iter(by_code)) for reason, by_code in codes().items()} | OF_THE_EDGE
    wrong = [(code, reason, known[reason]) for code, reason in documented(path) if reason in known and known[reason] != code]
    assert not wrong
