"""What profile makes others wait for is short: a transaction outside of its tables is one in which no history can be read."""

import ast
from pathlib import Path

PROFILE = Path(__file__).parents[2] / "services/profile"


def test_profile_opens_no_transaction_in_which_something_long_could_be_done() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in PROFILE.rglob("*.py")
        if path.parent.name not in ("tables", "migrations")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "transaction"
    ]
    assert not found, f"short_transaction of shared.store.pool instead: {', '.join(found)}"
