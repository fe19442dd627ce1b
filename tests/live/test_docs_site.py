"""The site as it is built: whole, and of itself."""

import os.path
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from docs_site.__main__ import build, prepare

FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}
FOREIGN = re.compile(r"(?:[a-z]+:)?//")


class _Page(HTMLParser):
    """What it fetches, where it leads, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attributes if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if address := given.get(FETCHED.get(tag, "")):
            self.fetched.append(address)
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    assert build(folder / "build", folder / "site") == 0
    return folder / "site"


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, _Page]:
    return {str(path.relative_to(site)): _Page(path.read_text()) for path in site.rglob("*.html")}


def test_no_page_fetches_anything_from_elsewhere(site: Path, read: dict[str, _Page]) -> None:
    assert len(read) > 100
    assert {address for page in read.values() for address in page.fetched if FOREIGN.match(address)} == set()
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert not [found for style in styles for found in re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']*", style)]


def test_what_a_page_fetches_and_links_to_is_in_the_site(site: Path, read: dict[str, _Page]) -> None:
    assert list(_lost(site, read)) == []


def _lost(site: Path, read: dict[str, _Page]) -> Iterator[str]:
    for name, page in read.items():
        for address in [*page.fetched, *page.leads]:
            path, _, anchor = unquote(address).partition("#")
            if name == "404.html" or re.match(r"[a-z]+:", address):  # the first is served at any address
                continue
            target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not (site / target).exists() or (anchor and anchor not in read[target].anchors):
                yield f"{name}: {address}"


def test_search_is_in_the_site(site: Path) -> None:
    assert "GetProfile" in (site / "search.js").read_text()


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    prepare(tmp_path)
    page = tmp_path / "pages" / "architecture.md"
    page.write_text(page.read_text() + "\nSee [there](operations.md#nowhere-at-all).\n")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "anchor does not exist" in ended.stdout + ended.stderr
