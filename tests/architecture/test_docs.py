"""A path that the docs name is there. What was renamed or removed is found here and not by a reader."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from docs_site.navigation import SECTIONS

ROOT = Path(__file__).parents[2]
FOLDERS = "benchmarks|clients|deploy|docs|docs_site|protos|services|shared|tests|verify"
PATH = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./*-]*[\w*]")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")  # not to an address, nor within the page
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
RUN_ON = re.compile(r"(?:\A|\n\n)((?!- |\* |\d+\. |[ #<|]).*)\n(?:- |\* |\d+\. )")  # a paragraph's line, and a list at once
PACKAGES = [ROOT / "verify" / "README.md", *(ROOT / "clients").glob("*/README.md")]
DOCS = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *PACKAGES])


def missing(page: Path) -> Iterator[str]:
    text = page.read_text()
    yield from (name for name in PATH.findall(text) if not any(ROOT.glob(name)))
    yield from (name for name in LINK.findall(text) if not (page.parent / name).exists())


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert list(missing(page)) == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_list_begins_behind_a_blank_line(page: Path) -> None:
    """The site would make one paragraph of it, and a repository's pages wouldn't show that."""
    text = CODE.sub("", page.read_text())
    assert RUN_ON.findall(text) == []


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    """`make docs` ends without; docs_site/navigation.py has the order in which pages are read."""
    patterns = [pattern for section in SECTIONS.values() for pattern in section]
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    pages = [page.replace("README.md", "index.md") for page in pages if not page.startswith("decisions/")]
    assert [page for page in pages if not any(fnmatch(page, pattern) for pattern in patterns)] == []
