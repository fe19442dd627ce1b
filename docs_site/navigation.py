"""What the site's navigation shows, in which order; and the rest of its configuration."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from docs_site.pages import decisions, title_of

SECTIONS: dict[str, list[str]] = {
    "Start": ["index.md", "architecture.md", "performance.md"],
    "Channel backends": ["clients/*.md", "profile-api.md", "callers.md", "segments.md", "consent-registry.md"],
    "Customer data": [
        "identity.md",
        "identity-rules.md",
        "tracking-plans.md",
        "profile-rules.md",
        "computed-traits.md",
        "import.md",
        "lake.md",
    ],
    "Auditors": ["verifier.md", "disclosures.md", "rights.md", "threat-model.md"],
    "Platform teams": ["operations.md", "scaling.md"],
    "Runbooks": ["runbooks/index.md", "runbooks/*.md"],
    "Reference": ["reference/index.md", "reference/errors.md", "reference/metrics.md", "events.md"],
}


class NotInNavigation(Exception):
    """A page that nobody would find; or a place in the navigation without a page."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"docs_site/navigation.py and the pages differ: {', '.join(names)}")
        self.names = names


def configuration(pages: Path) -> str:
    """`zensical.toml`: the part that is written by hand, and the navigation."""
    settings = Path(__file__).with_name("zensical.toml").read_text()
    return settings.replace("nav = []", f"nav = {_toml(navigation(pages))}")


def navigation(pages: Path) -> list[Any]:
    nav = {section: _named(pages, patterns) for section, patterns in SECTIONS.items()}
    references = sorted(pages.glob("reference/*/*.md"))
    for service, members in groupby(references, key=lambda path: path.parent.name):
        nav["Reference"].append({f"gRPC: {service}": [_entry(pages, path) for path in members]})
    nav["Decisions"] = [_entry(pages, path) for path in [pages / "decisions" / "index.md", *decisions(pages)]]
    _complete(pages, nav)
    return [{section: entries} for section, entries in nav.items()]


def _named(pages: Path, patterns: list[str]) -> list[Any]:
    found = (path for pattern in patterns for path in (sorted(pages.glob(pattern)) or [pages / pattern]))
    return [_entry(pages, path) for path in dict.fromkeys(found)]


def _entry(pages: Path, path: Path) -> Any:
    name = str(path.relative_to(pages))
    if not path.exists():
        raise NotInNavigation([name])
    return {title_of(path).partition(": ")[2] if name.count("/") > 1 else title_of(path): name}


def _complete(pages: Path, nav: dict[str, list[Any]]) -> None:
    shown = set(_leaves(list(nav.values())))
    missing = {str(path.relative_to(pages)) for path in pages.rglob("*.md")} - shown
    if missing:
        raise NotInNavigation(sorted(missing))


def _leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [leaf for inner in (nav.values() if isinstance(nav, dict) else nav) for leaf in _leaves(inner)]


def _toml(value: Any) -> str:
    """Of texts, lists and tables alone; JSON's texts are TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)
