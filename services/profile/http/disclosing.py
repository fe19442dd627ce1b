"""What the answers of this door disclose, by the names of their fields, and what they were asked with; so that they can be made again."""

import hmac
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from services.profile.disclosed import Shown
from services.profile.enforcement import release
from services.profile.http.answers import Content
from services.profile.http.contents import OF_PROFILES
from services.profile.http.resources import PAGES, Asked, Read, Wanted
from services.profile.rederiving import OVER_HTTP
from shared.rpc.paging import Page

TAG_BYTES: Final = 16
_encode = msgspec.json.Encoder(order="deterministic").encode


def call_of(part: str) -> str:
    return OVER_HTTP + part


def record_key(lookup_key: bytes) -> bytes:
    """One of its own: the tags of records outlive answers."""
    return hmac.digest(lookup_key, b"http disclosure", "sha256")


def shown_by(read: Read, content: Content, key: bytes) -> Shown:
    profile, again = read.profile, read.target.part in OF_PROFILES
    return Shown(
        members=profile.record.members,
        fields=fields_of(read.target.part, content.told),
        withheld=withheld_of(read),
        positions=profile.positions,
        rules_version=profile.rules.version,
        instant=read.instant,
        tag=tag_of(content, key) if again else "",
        mask=question(read.wanted, content.skipped) if again else (),
    )


def withheld_of(read: Read) -> list[tuple[str, str]]:
    return [(one.field, one.reason) for one in release(read.profile.record, read.purpose).withheld]


def fields_of(part: str, told: Mapping[str, Any]) -> set[str]:
    match part:
        case "traits":
            return {*told["traits"], *told.get("cut", ())}
        case "external_ids":
            return {f"identifier:{one['type']}" for one in told["data"]}
    return {part}


def tag_of(content: Content, key: bytes) -> str:
    """Of all but the address at which it goes on, which says how it was asked for."""
    told = content.as_of_its_events
    told = told | {"cursor": told["cursor"]["has_more"]} if "cursor" in told else told
    return hmac.digest(key, _encode(told), "sha256")[:TAG_BYTES].hex()


def question(wanted: Wanted, skipped: int) -> set[str]:
    """In words that a record keeps. A page is told by the number of rows before it: its place may have a name in it that isn't plain."""
    return {*_words(wanted), *([f"limit:{wanted.page.size}", f"skip:{skipped}"] if wanted.page is not None else [])}


def _words(wanted: Wanted) -> Iterator[str]:
    yield from (f"include:{name}" for name in wanted.include or ())
    if wanted.verbose:
        yield "verbose:true"
    if wanted.kind:
        yield f"class:{wanted.kind}"


def wanted_again(part: str, words: Collection[str]) -> Wanted:
    said: dict[str, set[str]] = {}
    for word in words:
        name, _, value = word.partition(":")
        said.setdefault(name, set()).add(value)
    names, pages = said.pop("include", None), PAGES.get(part)
    one = {name: next(iter(values)) for name, values in said.items()}
    page = Page(Asked(int(one["limit"]), ""), pages.places, b"") if pages is not None else None
    return Wanted(frozenset(names) if names else None, "verbose" in one, one.get("class", ""), page, int(one.get("skip", 0)))
