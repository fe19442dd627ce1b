"""Every version of every event type that was ever written stays readable: an example of each is kept for ever."""

import base64
import importlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.events.catalogue import CATALOGUE, form_of

for owner in (
    "callers",
    "consent",
    "customer",
    "disclosures",
    "erasure",
    "models",
    "profile_rules",
    "rights",
    "rules",
    "signals",
    "source",
):
    importlib.import_module(f"shared.events.{owner}")

EXAMPLES = Path(__file__).parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.json"))


def builtins(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_kept_example_reads_as_the_newest_form(path: Path) -> None:
    """`header` and `sealed` are the bytes of the day and never change; `public` and `personal` are what they mean today."""
    example = json.loads(path.read_text())
    form = form_of(example["type_id"], example["schema_version"])
    assert builtins(form.read_public(base64.b64decode(example["header"]))) == example["public"]
    if form.read_personal is None:
        assert example["personal"] is None
    else:
        assert builtins(form.read_personal(base64.b64decode(example["sealed"]))) == example["personal"]


def test_every_version_of_every_type_has_an_example() -> None:
    kept = {path.stem for path in FILES}
    wanted = {f"{kind.id}.v{version}" for kind in CATALOGUE.values() for version in range(1, kind.version + 1)}
    assert kept == wanted
