"""What answers disclose, by the names of their fields; and who calls."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from c360.profile.v1 import profile_pb2 as pb
from c360.profile.v1.disclosure_pb2 import Verdict
from c360.profile.v1.history_pb2 import (
    ConsentChange,
    DatedChange,
    DiffProfileResponse,
    IdentifierChange,
    MemberChange,
    SegmentChange,
    TraitChange,
)
from google.protobuf.field_mask_pb2 import FieldMask

from services.profile.api.etags import Tag
from services.profile.api.masks import mask_of
from services.profile.api.messages import profile_message
from services.profile.app import NOW, Instant, Profiles
from services.profile.batches import Refused
from services.profile.cache import Counts
from services.profile.disclosed import GIVEN_AT_ONCE, Disclosed, Shown, verdict_fact
from services.profile.disclosing import Call, Disclosing
from services.profile.domain.disclosure import plain, withheld_names
from services.profile.domain.state import LinkedIdentifier
from services.profile.profile import Profile
from services.profile.reading import Reading, noted
from services.profile.ready import ReadyAnswers
from services.profile.rederiving import Answer, Answered, Remade
from services.profile.timelines import Stretch
from services.profile.watches import Look
from shared.errors import CustomerError, NotPermitted, Unavailable
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME
from shared.pieces import Pieces
from shared.rpc.callers import named_by
from shared.rpc.server import Tell

Item = TypeVar("Item")


def call_of(name: str, context: Any) -> Call:
    return Call(name, *named_by(context))


def shown_of(message: pb.Profile, profile: Profile, instant: Instant = NOW, tag: str = "", mask: Collection[str] = ()) -> Shown:
    """Of a profile as it is sent."""
    return Shown(
        members=profile.record.members,
        fields=fields_of(message),
        withheld=[(one.field, one.reason) for one in message.withheld],
        positions=profile.positions,
        rules_version=profile.rules.version,
        instant=instant,
        tag=tag,
        mask=mask,
    )


def verdict_of(message: pb.Profile) -> Verdict.ValueType:
    return Verdict.VERDICT_PARTIAL if message.withheld else Verdict.VERDICT_PERMIT


def fields_of(message: pb.Profile) -> set[str]:
    return {*message.traits, *(f"identifier:{one.namespace}" for one in message.identifiers)}


def answering(tag: Tag) -> Answer:
    """As GetProfile does."""

    async def answer(remade: Remade) -> Answered:
        profile, purpose, mask = remade.profile, remade.purpose, mask_of(FieldMask(paths=remade.given.terms.mask))
        message = profile_message(profile, purpose, remade.verified, mask)
        withheld = withheld_names((one.field, one.reason) for one in message.withheld)
        return Answered(plain(fields_of(message)), tag(message, profile.rules, purpose, mask), withheld)

    return answer


def of_identifiers(shown: Iterable[LinkedIdentifier], profile: Profile, instant: Instant) -> Shown:
    fields = {f"identifier:{linked.namespace}" for linked in shown}
    return Shown(members=profile.record.members, fields=fields, positions=profile.positions, instant=instant)


def of_timeline(customer: bytes, stretch: Stretch, entries: Sequence[pb.TimelineEntry], instant: Instant) -> Shown:
    """Of a page: whoever something on it is about, and the names of what is told of each event."""
    records = [item.record for item in stretch.items[: len(entries)]]
    positions: dict[int, int] = {}
    for record in records:
        positions[record.partition] = max(record.pos, positions.get(record.partition, -1))
    return Shown(
        members=[customer, *sorted({record.entry.stream for record in records} - {customer})],
        fields={"events", *(f"event:{name}" for entry in entries for name in entry.details.fields)},
        positions=positions,
        instant=instant,
    )


async def shown_about(profiles: Profiles, customer: bytes, fields: Collection[str], **more: Any) -> Shown:
    """Of one customer, of whom no profile is at hand."""
    members, _ = await profiles.members(customer, END_OF_TIME)
    return Shown(members=members, fields=fields, **more)


def names_of(change: DiffProfileResponse | DatedChange) -> Iterator[str]:
    """Of what changed, once or several times."""
    for field, value in change.ListFields():
        for one in value if field.is_repeated else [value]:
            match one:
                case TraitChange():
                    yield one.name
                case IdentifierChange():
                    yield f"identifier:{one.identifier.namespace}"
                case SegmentChange():
                    yield f"segment:{one.name}"
                case ConsentChange() | MemberChange():
                    yield "consent" if isinstance(one, ConsentChange) else "customer_id"


class BulkDisclosures:
    """What many customers' data is given out in: a record of each."""

    def __init__(self, disclosed: Disclosed, call: Call, purpose: PurposeDefined) -> None:
        self._disclosed = disclosed
        self._call = call
        self._purpose = purpose

    async def give(self, reading: Reading, fields: Mapping[bytes, Collection[str]]) -> None:
        """By customer."""
        shown = [Shown(members=[customer], fields=names) for customer, names in fields.items()]
        await self._disclosed.give_all(self._call, reading, self._purpose, shown)


async def noted_each(pages: AsyncGenerator[Item, None]) -> AsyncGenerator[tuple[Item, Reading], None]:
    """Each page with what it was made from. They are closed with it."""
    async with aclosing(pages):
        while True:
            with noted() as reading:
                try:
                    page = await anext(pages)
                except StopAsyncIteration:
                    return
            yield page, reading


class WatchDisclosures:
    """What a watcher is about to be sent, written down before it is looked once more whether it may be."""

    def __init__(self, disclosed: Disclosed, call: Call) -> None:
        self._disclosed = disclosed
        self._call = call

    async def give(self, sent: Iterable[tuple[Look, pb.Profile, Profile]]) -> None:
        """All of them by looks for one purpose."""
        by_look: dict[int, tuple[Look, list[Shown]]] = {}
        pieces = Pieces(GIVEN_AT_ONCE)
        for look, message, profile in sent:
            by_look.setdefault(id(look), (look, []))[1].append(shown_of(message, profile))
            await pieces.done(1)
        for look, shown in by_look.values():
            await self._disclosed.give_all(self._call, look.reading, look.purpose, shown)

    async def refuse(self, refused: Iterable[tuple[Look, bytes, Refused]]) -> None:
        """What is told of each by name: who was looked at, and was asked for it. Who may be the same is asked for themselves."""
        by_look: dict[int, tuple[Look, list[tuple[list[bytes], CustomerError]]]] = {}
        for look, customer, one in refused:
            by_look.setdefault(id(look), (look, []))[1].append(([customer], one.refusal))
            one.refusal.facts.update(verdict_fact(one.refusal))
        for look, told in by_look.values():
            await self._disclosed.refuse_all(self._call, look.reading, look.purpose, told)

    async def refusing(
        self, responses: AsyncGenerator[Item, None], purpose: Callable[[], PurposeDefined], customers: Collection[bytes]
    ) -> AsyncGenerator[Item, None]:
        """What is told of customers who are named: what refuses all of them at once is written down. They are closed with it."""
        async with aclosing(responses):
            try:
                async for response in responses:
                    yield response
            except (NotPermitted, Unavailable) as refusal:
                if (
                    not refusal.facts.keys() & (fact := verdict_fact(refusal)).keys()
                ):  # else it is written down with what it rests on
                    refusal.facts.update(fact)
                    await self._disclosed.refuse_all(self._call, Reading(), purpose(), [([one], refusal) for one in customers])
                raise


class ReadyReads:
    """Answers that are ready, given out once that is written down."""

    def __init__(self, ready: ReadyAnswers, disclosing: Disclosing, call: str) -> None:
        self._ready = ready
        self._disclosing = disclosing
        self._call = call
        self._counts = Counts("answers")

    def find(self, request: bytes, context: Any, tell: Tell) -> bool:
        """Raises LimitExceeded (OVERLOADED)."""
        if (ready := self._ready.find(request)) is None:
            self._counts.add(0, 1)
            return False
        self._counts.add(1, 0)
        assert ready.given is not None, "what is kept to be answered says what it discloses"

        def written(error: CustomerError | None) -> None:
            """Something may have changed meanwhile."""
            tell(ready.answer if error is None and self._ready.find(request) is ready else None, error)

        self._disclosing.write_down(ready.given, call_of(self._call, context), written)
        return True
