"""The parts of a profile in Segment's shape, as far as the purpose may see them."""

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from services.profile.app import Instant
from services.profile.belonging import Belonging
from services.profile.domain.golden import NO_EVENT, GoldenTrait
from services.profile.domain.state import LinkedIdentifier
from services.profile.enforcement import NOT_IN_PURPOSE, REDACTED, Withheld, release
from services.profile.http.address import Target
from services.profile.http.queries import Query, rfc3339
from services.profile.origins import Origin, Origins
from services.profile.profile import Profile
from shared.events.consent import ALL_TRAITS, PurposeDefined
from shared.ids import to_text
from shared.log import Record
from shared.rpc.paging import Number, Page, of_another_query

Row = TypeVar("Row")
Partition = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Pages(msgspec.Struct, frozen=True):
    """How many items a page has when nobody says, and at most; and what a place between two of them is: behind the customer."""

    default: int
    most: int
    places: msgspec.msgpack.Decoder[Any]


MEMBERS_MOST: Final = 500  # that are listed
AUDIENCE: Final = "audience"  # Segment's word for a segment
CLASSES: Final = ("", "computed_trait", AUDIENCE)
PAGES: Final = {
    "traits": Pages(20, 200, msgspec.msgpack.Decoder(tuple[bytes, str])),
    "events": Pages(10, 100, msgspec.msgpack.Decoder(tuple[bytes, tuple[Number, Number, Partition, Number]])),
    # No identifier stands in a page's address.
    "external_ids": Pages(25, 100, msgspec.msgpack.Decoder(tuple[bytes, tuple[str, bytes]])),
}


class Asked(msgspec.Struct, frozen=True):
    page_size: int
    page_token: str


class Wanted(msgspec.Struct, frozen=True):
    """What of a part: named ones alone, or all; with more about each; and which page, where the part has pages: behind its place, or, where
    it has none, behind so many rows."""

    include: frozenset[str] | None
    verbose: bool
    kind: str  # one of CLASSES; empty: all traits, and segments that `include` names
    page: Page[Any] | None
    skipped: int = 0

    def has(self, name: str) -> bool:
        return self.include is None or name in self.include


def wanted_by(query: Query, part: str, purpose: str) -> Wanted:
    """Raises InvalidInput (LIMIT_INVALID, PAGE_TOKEN_INVALID, TOO_MANY_NAMES, PARAMETER_INVALID)."""
    pages = PAGES.get(part)
    asked = Asked(query.limit(pages.default, pages.most), query.values.get("next", "")) if pages else None
    page = Page(asked, pages.places, query.of_any_page(part, purpose)) if pages and asked else None
    return Wanted(query.names("include"), query.flag("verbose"), query.choice("class", CLASSES), page)


class Told(NamedTuple):
    """A part as it is told. `skipped`: rows that stand before its page."""

    content: dict[str, Any]
    skipped: int = 0

    def __repr__(self) -> str:
        return "<Told sealed>"


class Read(msgspec.Struct, frozen=True):
    """A profile that was permitted, and what was asked of it. `customer`: whom the address names, which may be one with others."""

    target: Target
    customer: bytes
    query: Query
    wanted: Wanted
    purpose: PurposeDefined
    instant: Instant
    profile: Profile

    @property
    def told_as(self) -> str:
        """The id of the customer in the answer. The past of events is asked of today's profile, which may have joined others since."""
        return to_text(self._told_of)

    @property
    def _told_of(self) -> bytes:
        past_events = self.target.part == "events" and not self.instant.is_now
        return self.customer if past_events else self.profile.record.members[0]

    @property
    def page(self) -> Page[Any]:
        assert self.wanted.page is not None, "this part has pages"
        return self.wanted.page

    @property
    def after(self) -> Any:
        """Where the page begins. Raises InvalidInput (PAGE_TOKEN_INVALID): another customer's."""
        if self.page.after is None:
            return None
        customer, place = self.page.after
        if customer not in (self.customer, *self.profile.record.members):
            raise of_another_query()
        return place

    def token_of(self, place: Any) -> str:
        """Bound to the customer, and not to how the address names her: the next page's names her by her id."""
        return self.page.token_of(None if place is None else (self._told_of, place))

    @property
    def asks_for_segments(self) -> bool:
        if self.target.part != "traits" or self.profile.rules.segments is None:
            return False
        named = self.wanted.include or frozenset()
        return self.wanted.kind == AUDIENCE or (
            not self.wanted.kind and bool(named & self.profile.rules.segments.conditions.keys())
        )

    def __repr__(self) -> str:
        return f"<Read {self.target.part} sealed>"


def as_of_its_events(read: Read) -> Read:
    """With the newest event's instant for how long ago that was, which is another at every read."""
    record = read.profile.record
    clocks = {name: record.traits[name] for name in read.profile.rules.clocks & record.traits.keys()}
    if not clocks:
        return read
    said = {name: msgspec.structs.replace(trait, value=trait.occurred_at) for name, trait in clocks.items()}
    steady = msgspec.structs.replace(record, traits={**record.traits, **said})
    return msgspec.structs.replace(read, profile=msgspec.structs.replace(read.profile, record=steady))


def traits(read: Read, verified: Collection[str], belonging: Belonging | None) -> Told:
    """A segment that the customer is in is a trait that is true, as Segment's users know it. A trait of its name comes first."""
    released, rules, wanted = release(read.profile.record, read.purpose), read.profile.rules, read.wanted
    chosen = rules.computed.all if rules.computed else ()
    held = {name for name in released.traits if wanted.kind != AUDIENCE and (name in chosen or not wanted.kind)}
    segments = set(belonging.segments) if belonging else set[str]()
    page = _page(read, sorted(name for name in held | segments if wanted.has(name)), lambda name: name)
    shown = page.rows
    less = {name for name in belonging.cut if wanted.has(name)} - held if belonging else set[str]()
    cut = {name for name in held if released.traits[name].cut} | less
    # A segment that the customer isn't in is on no page: each says of it that it may be otherwise.
    more = _left_out(read) | ({"cut": told} if (told := sorted(cut & set(shown) | less - segments)) else {})
    if not wanted.verbose:
        values = {name: released.traits[name].value if name in held else True for name in shown}
        return Told({"traits": values, "cursor": page.cursor, **more}, page.skipped)
    told_of = {name: _trait(released.traits[name], name in verified) if name in held else _audience(name in cut) for name in shown}
    withheld = [
        *released.withheld,
        *(Withheld(f"segment:{name}", NOT_IN_PURPOSE) for name in (belonging.withheld if belonging else ())),
        *(Withheld(f"segment:{name}", REDACTED) for name in (belonging.redacted if belonging else ())),
    ]
    return Told({"traits": told_of, "withheld": _withheld(withheld), "cursor": page.cursor, **more}, page.skipped)


async def external_ids(read: Read, origins: Origins) -> Told:
    released = release(read.profile.record, read.purpose)
    linked = sorted((found for found in released.identifiers if read.wanted.has(found.namespace)), key=_place)
    page = _page(read, linked, _place)
    known = await origins.of_identifiers(read.profile, read.instant, [found.value_hash for found in page.rows])
    since = read.profile.record.named
    data = [_external_id(found, known.get(found.value_hash), since.get(found.value_hash)) for found in page.rows]
    more: dict[str, Any] = {"withheld": _withheld(released.withheld)} if read.wanted.verbose else {}
    more |= {"cut_count": released.cut_identifiers} if released.cut_identifiers else {}
    return Told({"data": data, "cursor": page.cursor} | more, page.skipped)


async def metadata(read: Read, origins: Origins) -> Told:
    record = read.profile.record
    ends = await origins.activities(read.profile, read.instant)
    first, last = ends or (None, None)
    told = {
        "created_at": rfc3339(record.founded_at),
        "updated_at": rfc3339(record.last_seen_at or record.founded_at),
        "expires_at": None,
        "first_message_id": _event_id(first),
        "first_source_id": _source(first),
        "last_message_id": _event_id(last),
        "last_source_id": _source(last),
    }
    return Told({"metadata": told | (_more(read) if read.wanted.verbose else {})})


def _more(read: Read) -> dict[str, Any]:
    """What GetProfile says besides."""
    profile, purpose = read.profile, read.purpose
    released = release(profile.record, purpose)
    return {
        "customer_id": to_text(profile.record.members[0]),
        "member_ids": [to_text(member) for member in profile.record.members[:MEMBERS_MOST]],
        "member_count": len(profile.record.members),
        "purpose": f"{purpose.name}@{purpose.version}",
        "version": profile.version,
        "rules_version": profile.rules.version,
        "positions": [f"profile/{partition}/{pos}" for partition, pos in sorted(profile.positions.items()) if pos >= 0],
        "redacted_events": profile.redacted,
        "state_hash": profile.record.state_hash if purpose.may_see(ALL_TRAITS) else None,
        "cut": sorted(name for name, trait in released.traits.items() if trait.cut),
        "withheld": _withheld(released.withheld),
        **_left_out(read),
    }


def _left_out(read: Read) -> dict[str, Any]:
    """Whether there may be more traits than the profile has room for, and those of too large values."""
    too_large = sorted(filter(read.wanted.has, release(read.profile.record, read.purpose).too_large))
    return ({"left_out": True} if read.profile.record.left_out else {}) | ({"too_large": too_large} if too_large else {})


class _Paged(NamedTuple, Generic[Row]):
    rows: Sequence[Row]
    cursor: dict[str, Any]
    skipped: int


def _page(read: Read, rows: Sequence[Row], place_of: Callable[[Row], Any]) -> _Paged[Row]:
    """Of all rows, in the order of their places, those of the page."""
    skipped = read.wanted.skipped if (after := read.after) is None else sum(place_of(row) <= after for row in rows)
    rest = rows[skipped:]
    shown = rest[: read.page.size]
    return _Paged(shown, cursor_of(read, read.token_of(place_of(shown[-1]) if len(rest) > len(shown) else None)), skipped)


def cursor_of(read: Read, token: str) -> dict[str, Any]:
    """Segment's; `url` is of the next page while there is one, else of this list, and names the customer by its id."""
    target = read.target
    url = f"/v1/spaces/{target.space}/collections/users/profiles/{read.told_as}/{target.part}"
    url += f"?{read.query.of_next_page(token)}" if token else ""
    return {"url": url, "has_more": bool(token), "next": token, "limit": read.page.size}


def _trait(trait: GoldenTrait, verified: bool) -> dict[str, Any]:
    return {
        "value": trait.value,
        "source_id": trait.source,
        "updated_at": rfc3339(trait.occurred_at),
        "event_id": to_text(trait.event_id) if trait.event_id != NO_EVENT else None,
        "verified": verified,
        "cut": trait.cut,
    }


def _audience(cut: bool) -> dict[str, Any]:
    """No event made it: it is true as of the instant that is asked for."""
    return {"value": True, "source_id": AUDIENCE, "updated_at": None, "event_id": None, "verified": False, "cut": cut}


def _external_id(linked: LinkedIdentifier, origin: Origin | None, named_at: int | None) -> dict[str, Any]:
    if (created_at := named_at) is None and origin is not None:
        created_at = origin.linked_at
    return {
        "id": linked.value,
        "type": linked.namespace,
        "collection": "users",
        "encoding": "none",
        "source_id": origin.source if origin else None,
        "created_at": rfc3339(created_at) if created_at is not None else None,
        "first_message_id": to_text(origin.event_id) if origin and origin.event_id else None,
    }


def _place(linked: LinkedIdentifier) -> tuple[str, bytes]:
    return linked.namespace, linked.value_hash


def _withheld(withheld: Sequence[Withheld]) -> list[dict[str, str]]:
    return [{"field": told.field, "reason": told.reason} for told in withheld]


def _event_id(record: Record | None) -> str | None:
    return to_text(record.entry.event_id) if record else None


def _source(record: Record | None) -> str | None:
    return str(record.entry.public().source) if record else None
