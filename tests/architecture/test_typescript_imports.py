"""customer360-client for Node stands on its own, under the terms of the rest, and makes calls of gRPC in one place."""

import re
from pathlib import Path

import msgspec
import pytest

from tests.architecture.test_sizes import BANNED_NAMES, MOST_LINES_A_FILE

FOLDER = Path(__file__).parents[2] / "clients" / "typescript"
SOURCES = sorted(path for path in (FOLDER / "src").rglob("*.ts") if not path.stem.endswith("_pb"))
IMPORTED = re.compile(r"""^\s*(?:import|export|\}).*?\bfrom "([^"]+)";$""", re.MULTILINE)
PACKAGE = msgspec.json.decode((FOLDER / "package.json").read_bytes())
LOCKED = msgspec.json.decode((FOLDER / "package-lock.json").read_bytes())["packages"]
# Their terms are fit for whoever links them into a program of their own, whatever its terms.
PERMISSIVE = re.compile(r"\(?(Apache-2\.0|BSD-[23]-Clause|MIT|ISC|0BSD| AND )+\)?")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_it_imports_only_itself_node_and_what_it_says_that_it_needs(path: Path) -> None:
    imported = IMPORTED.findall(path.read_text())
    others = {"/".join(name.split("/")[:2]) for name in imported if not name.startswith((".", "node:"))}
    assert others <= set(PACKAGE["dependencies"])
    assert all((path.parent / name).with_suffix(".ts").is_file() for name in imported if name.startswith("."))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_file_fits_in_one_reading_and_its_name_says_what_is_inside(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES_A_FILE
    assert path.stem not in BANNED_NAMES


def test_one_file_makes_calls() -> None:
    assert [path.name for path in SOURCES if re.search(r"\bmake\w+Request\(", path.read_text())] == ["transport.ts"]


def test_it_goes_by_the_name_version_and_terms_of_the_python_client() -> None:
    python = msgspec.toml.decode((FOLDER.parent / "python" / "pyproject.toml").read_bytes())["project"]
    assert [PACKAGE[key] for key in ("name", "version", "license")] == [python[key] for key in ("name", "version", "license")]


def test_what_it_brings_along_is_locked_and_under_permissive_terms() -> None:
    brought = {name: package for name, package in LOCKED.items() if name and not package.get("dev")}
    assert brought
    assert [name for name, package in brought.items() if not PERMISSIVE.fullmatch(package["license"])] == []
    assert [name for name, package in LOCKED.items() if name and not package.get("integrity")] == []
