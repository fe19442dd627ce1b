"""The laws of the cause: of what came together, a move is due to an event that its condition looks at; and all that came is looked at."""

import asyncio
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.profile.causes import Cause, because, new_ones
from services.profile.domain.membership import moves
from shared.events import customer as events
from shared.events.catalogue import Entry
from shared.instants import SECOND
from shared.log import Record
from tests.properties.pasts import CUSTOMERS, Teller, activity
from tests.properties.purchases import START
from tests.properties.test_beginnings import WITHOUT_CONFIRMING, Kept

LOOKED_AT = {"kiel": "city", "nowhere": "city", "many": "order", "listed": "tier"}
DOCUMENT: dict[str, Any] = {
    "traits": {"tier": {"rule": "most_frequent"}},
    "computed": {"orders": WITHOUT_CONFIRMING["computed"]["orders"]},
    "segments": {name: one for name, one in WITHOUT_CONFIRMING["segments"].items() if name in LOOKED_AT}
    | {"listed": {"when": "traits.tier == 'gold'"}},
}
said = st.one_of(
    st.just(("order", None)),
    st.just(("page", None)),
    st.tuples(st.just("city"), st.sampled_from(["Kiel", "Bremen", None])),
    st.tuples(st.just("tier"), st.sampled_from(["gold", "iron"])),
)
batches = st.lists(st.lists(st.tuples(said, st.integers(0, 9)), min_size=1, max_size=5), min_size=1, max_size=5)


class Causes(Kept):
    """Notes of which kind the event was that each move is due to."""

    def __init__(self) -> None:
        super().__init__(DOCUMENT, 500)
        self.kinds: dict[bytes, str] = {}
        self.found: list[tuple[str, str]] = []  # (what the segment looks at, kind of the event)

    def say(self, teller: Teller, kind: str, value: Any, at: int) -> None:
        match kind:
            case "order":
                event_id = teller._event(0, at, events.TRACKED, activity("web", at), events.Tracked(name="Order Completed"))
            case "page":
                event_id = teller._event(0, at, events.PAGE_VIEWED, activity("web", at), events.Viewed(name="Home"))
            case _:
                event_id = teller._event(0, at, events.IDENTIFIED, activity("web", at), events.Identified(traits={kind: value}))
        self.kinds[event_id] = kind

    async def look(self, causes: Mapping[bytes, Cause]) -> list[tuple[bytes, str, bool, int]]:
        held, customer = await self.held(), CUSTOMERS[0]
        standing = await self.standing(held, self.past.log.now)
        for move in moves(self.written, held, customer, standing.segments):
            cause = because(causes[customer], move.segment, self.rules, held)
            self.found.append((LOOKED_AT[move.segment], self.kinds.get(cause.event_id, "order")))  # who is founded orders
        self.written[customer] = set(standing.segments)
        return []


@example([[(("order", None), 1), (("order", None), 2), (("city", "Kiel"), 3), (("page", None), 4), (("page", None), 5)]])
@example([[(("tier", "gold"), 1), (("page", None), 2)]])
@given(batches)
def test_a_move_is_due_to_an_event_that_its_condition_looks_at(life: list[list[tuple[tuple[str, Any], int]]]) -> None:
    kept = Causes()
    teller = Teller(kept.past)
    for batch in life:
        for (kind, value), second in batch:
            kept.say(teller, kind, value, START + second * SECOND)
        teller.commit()
        asyncio.run(kept.follow())
        kinds = {kind for (kind, _), _ in batch}
        assert all(looked_at == kind for looked_at, kind in kept.found if looked_at in kinds)
        kept.found.clear()


@given(st.lists(st.integers(1, 3), min_size=1, max_size=12).map(lambda gaps: list(accumulate(gaps))), st.data())
def test_what_is_new_is_what_came_behind_what_was_looked_at_however_far_the_state_is(
    positions: list[int], data: st.DataObject
) -> None:
    """An event that is in the state before it is followed is new, and those that were followed for this look are too."""
    looked_at = data.draw(st.integers(0, len(positions)), "events that an earlier look was at")
    followed = data.draw(st.integers(looked_at, len(positions)), "and those that are followed for this one")
    head = positions[followed] if followed < len(positions) else positions[-1] + 1
    records = [record_at(pos) for pos in positions]
    ahead = len(records) - followed
    newest = (
        records[-(followed - looked_at + data.draw(st.integers(ahead, len(records)))) :] if looked_at < len(records) else records
    )
    assert [one.pos for one in new_ones(newest, followed - looked_at, head)] == positions[looked_at:]


def record_at(pos: int) -> Record:
    entry = Entry(b"c" * 16, b"%16d" % pos, events.TRACKED.id, 1, 0, b"", b"")
    return Record(0, pos, pos, START + pos, entry)
