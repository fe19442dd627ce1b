"""Law of tags where a trait says how long ago something was: the passing of time is news only where it changes anything else."""

from collections.abc import AsyncGenerator, Collection
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.api.disclosing import WatchDisclosures
from services.profile.api.etags import tagger
from services.profile.api.masks import WHOLE
from services.profile.api.messages import profile_message
from services.profile.api.watching import Teller, Wanted, states
from services.profile.app import Instant
from services.profile.batches import Seen
from services.profile.disclosing import Call
from services.profile.domain.golden import golden_record
from services.profile.domain.rules_document import read, rules_of
from services.profile.http.address import Target
from services.profile.http.answers import Content, found
from services.profile.http.queries import query_of
from services.profile.http.resources import Read, as_of_its_events, traits, wanted_by
from services.profile.profile import Profile
from services.profile.watch_turns import WatchTurns
from services.profile.watches import Look
from shared.events.catalogue import Entry
from shared.instants import DAY, SECOND
from tests.properties.people_read import LOOKUP_KEY, purpose
from tests.properties.purchases import ORDER, START, purchases
from tests.properties.test_computed_golden import by_stream
from tests.unrecorded import unrecorded

CLOCK = "since"
COMPUTED = {CLOCK: {"of": ORDER, "aggregate": "time_since"}, "recent": {"of": ORDER, "aggregate": "count", "window": "2d"}}
RULES = rules_of(read(msgspec.json.encode({"computed": COMPUTED}).decode()), 2)
CONTRACT = purpose("contract")
TAG = tagger(LOOKUP_KEY)

histories = st.lists(purchases(), min_size=1, max_size=8)
instants = st.integers(0, 4 * DAY).map(lambda later: START + 8 * DAY + later) | st.integers(0, 3).map(
    lambda later: START + 8 * DAY + later * SECOND
)


def seen(history: list[Entry], at: int) -> Seen:
    return Seen(Profile(golden_record(by_stream(history), RULES, at=at), 1, {}, {}, RULES), frozenset())


def known(profile: Profile, names: Collection[str]) -> object:
    """What there is to know, however long ago it is now."""
    shown = {name: trait for name, trait in profile.record.traits.items() if name in names}
    return {name: (trait.event_id, trait.occurred_at, None if name == CLOCK else trait.value) for name, trait in shown.items()}


def etag(profile: Profile, verbose: bool) -> tuple[str, int]:
    """Over HTTP, and what who has it is answered."""
    query = query_of(urlencode({"verbose": str(verbose).lower()}).encode(), "traits")
    target = Target("main", "user_id:u", "traits")
    asked = Read(target, profile.record.members[0], query, wanted_by(query, "traits", "contract"), CONTRACT, Instant(), profile)
    content = Content(traits(asked, (), None).content, traits(as_of_its_events(asked), (), None).content)
    tag = found(content, "", LOOKUP_KEY).headers["etag"]
    return tag, found(content, tag, LOOKUP_KEY).status_code


@given(histories, histories, instants, instants, st.booleans())
def test_a_tag_is_another_one_exactly_when_more_than_the_clock_is(
    before: list[Entry], more: list[Entry], one: int, other: int, news: bool
) -> None:
    first, second = seen(before, one).profile, seen(before + more if news else before, other).profile
    same = known(first, COMPUTED) == known(second, COMPUTED)
    messages = [profile_message(profile, CONTRACT, frozenset()) for profile in (first, second)]
    for message in messages:  # what else every event changes
        for field in ("last_seen_time", "state_hash", "found_time", "member_ids", "customer_id"):
            message.ClearField(field)
    tags = [TAG(message, RULES, CONTRACT, WHOLE) for message in messages]
    assert (tags[0] == tags[1]) == same
    assert etag(first, True)[1] == 304
    if not news:
        assert [etag(first, verbose)[0] == etag(second, verbose)[0] for verbose in (True, False)] == [same, same]


KEPT_NOWHERE = WatchDisclosures(unrecorded(), Call("", ""))


@pytest.mark.parametrize("changed", [frozenset[str](), frozenset({CLOCK}), frozenset({CLOCK, "recent"})])
@given(history=histories, at=st.lists(instants, min_size=1, max_size=4).map(sorted))
async def test_a_watcher_is_told_again_exactly_when_more_than_the_clock_is_another(
    changed: frozenset[str], history: list[Entry], at: list[int]
) -> None:
    profiles = [seen(history, instant) for instant in at]
    told = [known(one.profile, changed or COMPUTED) for one in profiles]
    news = sum(one != before for before, one in zip([None, *told], told, strict=False))
    teller = Teller(Wanted(WHOLE, changed, named=True), nobody, KEPT_NOWHERE, WatchTurns(), after=None, token_of=lambda _: "")
    assert len([change async for response in teller.responses(looks(profiles)) for change in response.changes]) == news
    if not changed:
        assert len([response async for response in states(looks(profiles), nobody, KEPT_NOWHERE)]) == news


async def looks(profiles: list[Seen]) -> AsyncGenerator[Look, None]:
    for number, one in enumerate(profiles):
        yield Look(CONTRACT, {one.profile.record.members[0]: one})
        yield Look(CONTRACT, places={"profile/0": number})


async def nobody(look: Look, customers: Collection[bytes]) -> set[bytes]:
    return set()
