"""Every reason that consent, profile and the doors refuse by is named by a test, in its code and not in what is said about it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.contracts.test_errors import BY_NAME, ROOT, SOURCES, told

# Where what callers are told is decided. Of `shared` that is what stands at the doors: the rest is between processes.
OURS = ("services/consent/", "services/profile/", "shared/rpc/", "shared/http/")
ALSO = ("shared/access_tokens.py", "shared/callers.py", "shared/limits.py", "shared/rates.py", "shared/request_ids.py")
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
# What a process stops by, or sets aside: no caller is told.
TO_NOBODY = {"Halted", "Poison"}
# Where the class alone says it: a defect, or a reason that others give more of.
DEFECTS = {kind.default_reason for kind in BY_NAME.values()}

WORD = re.compile(r"[A-Z][A-Z0-9_]+")


def strings(path: Path) -> Iterator[str]:
    """The words of all strings of a module but its docstrings."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield from WORD.findall(node.value)


def helped(path: Path) -> Iterator[str]:
    """Reasons that are given to a function which makes the error, where that is raised."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and ast.unparse(node.exc.func) not in TO_NOBODY:
            for word in [*node.exc.args, *(one.value for one in node.exc.keywords)]:
                if isinstance(word, ast.Constant) and isinstance(word.value, str) and is_reason(word.value):
                    yield word.value


def is_reason(word: str) -> bool:
    return "_" in word and word.replace("_", "").isalnum() and word == word.upper()


@cache
def named() -> frozenset[str]:
    return frozenset(word for path in TESTS for word in strings(path))


@cache
def reasons() -> dict[str, str]:
    """{reason: a file that it is told by}."""
    files = [path for path in SOURCES if str(path.relative_to(ROOT)).startswith((*OURS, *ALSO))]
    found = {reason: str(path.relative_to(ROOT)) for path in files for reason, _ in told(path)}
    found |= {reason: str(path.relative_to(ROOT)) for path in files for reason in helped(path)}
    return {reason: file for reason, file in found.items() if reason not in DEFECTS}


def test_there_are_many() -> None:
    assert len(reasons()) > 100
    assert {"RATE_EXCEEDED", "OVERRIDE_INVALID", "CALLER_INVALID", "OPENDSR_INVALID", "PATH_INVALID"} <= reasons().keys()


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_a_reason_is_named_by_a_test(reason: str) -> None:
    assert reason in named(), reasons()[reason]
