"""Decoders are made when their module is loaded.

msgspec (0.22) works out a struct's form when it first decodes one, and while a first thread does, a second one may meet what is half
made: a segmentation fault, of a whole service when two callers send it documents at once.
"""

import ast

import pytest

from tests.architecture.test_sizes import SOURCES, name_of

FORMATS = ("json", "msgpack", "yaml", "toml")
CALLED_AT_LOAD = {"shared/events/catalogue.py"}  # by the modules that register their types


def called(node: ast.AST, name: str) -> bool:
    """Whether it is a call of msgspec.FORMAT.name."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="msgspec"), attr=form), attr=found)):
            return found == name and form in FORMATS
    return False


def names_a_type(call: ast.Call) -> bool:
    return len(call.args) > 1 or any(keyword.arg == "type" for keyword in call.keywords)


def late(tree: ast.Module) -> list[int]:
    """Lines on which a form is worked out at a call."""
    decoded = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node, "decode") and names_a_type(node)]
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
    made = [node for function in functions for node in ast.walk(function) if isinstance(node, ast.Call) and called(node, "Decoder")]
    return sorted({node.lineno for node in (*decoded, *made)})


def test_forms_are_worked_out_when_a_module_is_loaded() -> None:
    found = {name_of(path): late(ast.parse(path.read_text())) for path in SOURCES}
    assert {name: lines for name, lines in found.items() if lines and name not in CALLED_AT_LOAD} == {}


@pytest.mark.parametrize(
    "text", ["def f(x): msgspec.json.decode(x, type=T)", "def f(x): return msgspec.msgpack.Decoder(T).decode(x)"]
)
def test_what_comes_late_is_found(text: str) -> None:
    assert late(ast.parse(text)) == [1]


@pytest.mark.parametrize("text", ["D = msgspec.json.Decoder(T)", "def f(x): return msgspec.json.decode(x)"])
def test_what_is_in_time_or_has_no_form_is_not(text: str) -> None:
    assert late(ast.parse(text)) == []
