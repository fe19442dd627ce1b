"""Who is in which segment on a real PostgreSQL: as the function says at every step, with the cause of every change."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import accumulate, count, islice

import pytest
from c360.common.v1.common_pb2 import Position
from c360.profile.v1 import segment_pb2 as pb

from services.profile import memberships
from services.profile.api.places import Places
from services.profile.api.segments import BY_PLACE, SegmentApi
from services.profile.app import Instant
from services.profile.composition import ProfileSettings, compose
from services.profile.domain.golden import golden_record
from services.profile.domain.lineage import canonicals
from services.profile.domain.membership import standing
from services.profile.portions import Looks
from services.stack.settings import whole_environment
from services.stack.stack import Stack
from shared.config import read_settings
from shared.errors import InvalidInput, NotFound, NotFreshEnough, NotPermitted, Unavailable
from shared.events.catalogue import Entry
from shared.ids import derived_id, partition_of, to_text
from shared.instants import END_OF_TIME, SECOND, from_timestamp, now_us, to_timestamp
from shared.rpc.paging import Page
from shared.vault import DataKey
from tests.live.inside import Inside, cut_off, erased, founded, identified, linked, merged, new_id, tracked
from tests.live.test_profile_rules import AUDIT, activated, command
from tests.properties.people_read import decision, purpose

RULES = """{"computed": {"recent": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "2s"}},
            "segments": {"kiel": {"when": "traits.city == 'Kiel'"}, "buyers": {"when": "computed.recent >= 1"}}}"""
LASTING = RULES.replace('"2s"', '"1h"')  # for a test that takes its time over other things
PATIENCE_S = 30.0


@pytest.fixture
async def inside(servers: Stack) -> AsyncIterator[Inside]:
    inside = await Inside.open(servers)
    inside.confirm_consent()
    yield inside
    await inside.close()


async def caught_up(keeper: memberships.Keeper) -> None:
    while await keeper.step():
        pass


def api_of(inside: Inside) -> SegmentApi:
    parts, places = inside.parts, Places(inside.vault.lookup_key)
    return SegmentApi(
        parts.profiles,
        parts.rulebook,
        parts.memberships,
        parts.listed,
        parts.belongings,
        parts.past_members,
        parts.keeper,
        parts.progress,
        places,
        inside.disclosures.disclosed,
    )


async def agree(inside: Inside, streams: list[bytes]) -> dict[str, set[bytes]]:
    """What is written is what the function gives of the states as they are."""
    held, rules = await inside.parts.states.load(streams), inside.parts.rulebook.rules
    naive: dict[str, set[bytes]] = {"kiel": set(), "buyers": set()}
    lineage = canonicals(streams, held)
    for canonical in set(lineage.values()):
        states = {member: held[member].state for member in streams if lineage[member] == canonical}
        if not any(state.erased for state in states.values()):
            at = now_us()
            for name in standing(states.values(), golden_record(states, rules, (), at), rules, at).segments:
                naive[name].add(canonical)
    found = {name: {one.customer for one in await inside.parts.memberships.members(name, b"", 500)} for name in naive}
    assert found == naive
    for name in naive:
        await sizes_are_what_counting_gives(inside, name)
    return found


async def history(inside: Inside, segment: str, customer: bytes) -> list[tuple[bool, str]]:
    """Oldest first."""
    found = await inside.parts.memberships.changes(segment, [customer], END_OF_TIME, 500)
    return [(one.entered, one.cause) for one in reversed(found)]


async def entered_as_if_never_merged(inside: Inside, customer: bytes) -> None:
    assert await history(inside, "kiel", customer) == [(True, "event"), (False, "merge"), (True, "split")]
    apart, _, alone = await inside.parts.memberships.changes("kiel", [customer], END_OF_TIME, 3)
    assert (apart.valid_at, apart.recorded_at > alone.recorded_at) == (alone.valid_at, True)


async def as_it_was(inside: Inside, streams: list[bytes], at: int) -> None:
    """The function, asked for an instant at which all was looked at, gives what history tells of it."""
    rows = [one for name in ("kiel", "buyers") for one in await inside.parts.memberships.changes(name, streams, END_OF_TIME, 500)]
    told: dict[tuple[bytes, str], bool] = {}
    for one in sorted(rows, key=lambda one: one.number):
        if one.recorded_at <= at:
            told[one.customer, one.segment] = one.entered
    for stream in streams:
        cluster = await inside.parts.profiles.cluster_as_of(stream, Instant(known_at=at))
        canonical = min(cluster.past, key=lambda member: cluster.past[member].held.state.founding_number)
        found: list[str] = []
        with suppress(NotFound):  # nothing had happened by then
            found = (await inside.parts.belongings.of(stream, AUDIT, Instant(known_at=at))).segments
        assert found == sorted(name for (customer, name), is_in in told.items() if is_in and customer == canonical)


async def sizes_are_what_counting_gives(inside: Inside, segment: str) -> None:
    """At the instant of every change, and just before."""
    rows = await inside.parts.memberships.changes(segment, (), END_OF_TIME, 500)
    asked = sorted({at for one in rows for at in (one.recorded_at - 1, one.recorded_at)})
    grown = await inside.parts.memberships.grown(segment, asked) if asked else {}
    sizes = list(accumulate(grown.get(index, 0) for index in range(len(asked))))
    assert sizes == [sum(1 if one.entered else -1 for one in rows if one.recorded_at <= at) for at in asked]
    assert sizes[-1:] in ([], [(await inside.parts.memberships.sizes()).get(segment, 0)])


async def ordered(inside: Inside, stream: bytes, key: DataKey) -> Entry:
    """An order that was looked at while it counted: on a busy machine the first may be over by then."""
    while True:
        order = tracked(stream, key, now_us())
        await inside.record([order])
        await caught_up(inside.parts.keeper)
        if (await inside.parts.memberships.sizes()).get("buyers"):
            return order


async def left_by_time(inside: Inside) -> None:
    """No event comes."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while (await inside.parts.memberships.sizes()).get("buyers"):
        assert asyncio.get_running_loop().time() < deadline, "time passes and nobody leaves"
        await caught_up(inside.parts.keeper)
        await asyncio.sleep(0.05)


async def test_who_is_in_a_segment_follows_events_rules_merges_splits_time_and_erasure(inside: Inside, servers: Stack) -> None:
    parts, (one, other, third) = inside.parts, sorted(new_id() for _ in range(3))
    keys, streams = await inside.keys([one, other, third]), [one, other, third]
    keeper = parts.keeper
    before = [founded(stream, number) for number, stream in enumerate(streams)]
    await inside.record([*before, identified(one, keys[one], 1, city="Kiel")])
    await caught_up(keeper)
    assert not await parts.memberships.sizes(), "no rules, no members"

    await activated(parts, command(RULES))
    await caught_up(keeper)
    assert (await parts.memberships.place()).rules_version == 2
    assert (await agree(inside, streams))["kiel"] == {one}
    assert await history(inside, "kiel", one) == [(True, "rules")]
    looked_at = [now_us()]

    settled = identified(other, keys[other], 2, city="Kiel")
    await inside.record([settled])
    order = await ordered(inside, other, keys[other])
    assert [(await parts.memberships.changes(name, [other], END_OF_TIME, 1))[0].event_id for name in ("kiel", "buyers")] == [
        settled.event_id,
        order.event_id,
    ]

    await left_by_time(inside)
    assert await history(inside, "buyers", other) == [(True, "event"), (False, "time")]
    [left, _] = await parts.memberships.changes("buyers", [other], END_OF_TIME, 5)
    assert left.valid_at == order.occurred_at + 2 * SECOND
    assert left.recorded_at >= left.valid_at

    looked_at.append(now_us())
    await inside.record(merged(one, other))
    await caught_up(keeper)
    looked_at.append(now_us())
    assert (await agree(inside, streams))["kiel"] == {one}, "two who are one are one member"
    again = compose(
        read_settings(ProfileSettings, servers.environment_of("profile")), keeper._pool, inside.vault, inside._client
    )  # as after a kill: it goes on from its place
    await again.rulebook.load()
    await inside.record([*cut_off(one, other), identified(third, keys[third], 3, city="Kiel")])
    await caught_up(again.keeper)
    await caught_up(keeper)
    assert (await agree(inside, streams))["kiel"] == set(streams)
    await entered_as_if_never_merged(inside, other)
    assert await history(inside, "kiel", third) == [(True, "event")], "once, whoever goes on"

    looked_at.append(now_us())
    for at in looked_at:
        await as_it_was(inside, streams, at)
    assert (await parts.belongings.of(other, AUDIT, Instant())).segments == ["kiel"]

    await inside.record([erased(third)])
    assert not await history(inside, "kiel", third), "nothing of who was erased, at once"
    await caught_up(keeper)
    assert (await agree(inside, streams))["kiel"] == {one, other}

    member = "INSERT INTO segment_members (segment, customer, entered_at) VALUES ('kiel', $1, 0)"
    await keeper._pool.execute(member, new_id())  # whose state can't be read
    await activated(parts, command("{}"))
    await caught_up(keeper)
    assert await parts.memberships.sizes() == {"kiel": 1}, "nobody waits for the one who can't be looked at"
    assert (await history(inside, "kiel", one))[-1] == (False, "rules")
    assert keeper._resting_under is parts.rulebook.rules, "with no segments there is nothing to do"


async def test_a_keeper_that_is_killed_between_what_it_writes_and_its_place_loses_and_doubles_nothing(
    inside: Inside, servers: Stack
) -> None:
    parts, ids = inside.parts, (new_id() for _ in count())
    streams = sorted(islice((one for one in ids if partition_of(one, parts.keeper._partitions) == 0), 4))  # a page takes one event
    keys, (one, other, third, fourth) = await inside.keys(streams), streams
    environment = whole_environment(servers.environment_of("profile"))
    dying = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.live.dying_keeper",
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    await inside.record(
        [*(founded(stream, number) for number, stream in enumerate(streams)), identified(one, keys[one], 1, city="Kiel")]
    )
    await activated(parts, command(LASTING))
    await caught_up(parts.keeper)
    await inside.record([tracked(other, keys[other], now_us())])
    await caught_up(parts.keeper)

    await inside.record([identified(stream, keys[stream], 2, city="Kiel") for stream in (other, third, fourth)])
    await inside.record([*merged(one, other), identified(third, keys[third], 3, city="Bremen")])
    assert await until_done(dying) > 1
    assert (await agree(inside, streams))["kiel"] == {one, fourth}
    assert await history(inside, "buyers", other) == [(True, "event"), (False, "merge")]
    await activated(parts, command(LASTING.replace("== 'Kiel'", "!= 'Kiel'")))
    assert await until_done(dying) > 1
    assert (await agree(inside, streams))["kiel"] == {third}
    assert await history(inside, "kiel", one) == [(True, "rules"), (False, "rules")]
    assert await history(inside, "kiel", fourth) == [(True, "event"), (False, "rules")]
    assert await history(inside, "kiel", third) == [(True, "rules")]
    assert not await history(inside, "kiel", other)
    dying.stdin.close()  # type: ignore[union-attr]
    assert await dying.wait() == 0


async def until_done(dying: asyncio.subprocess.Process) -> int:
    """How often it was killed."""
    assert dying.stdin
    assert dying.stdout
    dying.stdin.write(b"\n")
    return int(await dying.stdout.readline())


class Deadline:
    """Of a call: what its context says."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s

    def time_remaining(self) -> float:
        return self.left_s

    def invocation_metadata(self) -> tuple[()]:
        return ()


async def test_sizes_are_told_to_a_purpose_that_may_see_them_and_as_fresh_as_is_asked(inside: Inside) -> None:
    parts, stream = inside.parts, new_id()
    keys, api = await inside.keys([stream]), api_of(inside)
    allowed = purpose("contract", "city")
    await inside.define(allowed)
    await activated(parts, command(RULES))
    await caught_up(parts.keeper)
    began = to_timestamp(now_us())
    late = identified(stream, keys[stream], 5 * SECOND, city="Kiel")
    await inside.record([founded(stream, 1), late, tracked(stream, keys[stream], 9 * SECOND, "Cart Viewed")])
    number = partition_of(stream, parts.keeper._partitions)
    position = Position(log="profile", partition=number, number=parts.progress.applied(f"profile/{number}"))
    listed = pb.ListSegmentsRequest(purpose=allowed.name, at_least_as_fresh=[position])
    with pytest.raises(NotFreshEnough):
        await api.ListSegments(listed, Deadline(0))
    waiting = asyncio.gather(
        api.ListSegments(listed, Deadline(PATIENCE_S)),
        api.ListSegmentMembers(
            pb.ListSegmentMembersRequest(segment="kiel", purpose=allowed.name, at_least_as_fresh=[position]), Deadline(PATIENCE_S)
        ),
        api.ListMembershipChanges(
            pb.ListMembershipChangesRequest(segment="kiel", purpose=allowed.name, at_least_as_fresh=[position]),
            Deadline(PATIENCE_S),
        ),
    )
    await caught_up(parts.keeper)
    segments, members, changes = await waiting
    assert {one.name: one.size if one.HasField("size") else None for one in segments.segments} == {"kiel": 1, "buyers": None}
    [member], [change] = members.members, changes.changes
    assert member.enter_time == change.valid_time == to_timestamp(late.occurred_at), "not when the newest event happened"
    assert not any(one.HasField("size") for one in (await api.ListSegments(pb.ListSegmentsRequest(), None)).segments)
    asked = pb.ListSegmentSizesRequest(segment="kiel", purpose=allowed.name, from_time=began, page_size=1)
    asked.step.FromMicroseconds(max(now_us() - from_timestamp(began), SECOND))
    [size] = (await api.ListSegmentSizes(asked, None)).sizes
    assert (size.size, size.unknown, size.rules_version) == (0, "", 2)
    asked.from_time.FromMicroseconds(0)
    assert (await api.ListSegmentSizes(asked, None)).sizes[0].unknown == "not_begun"
    asked.segment = "buyers"
    with pytest.raises(NotPermitted, match="may not see"):
        await api.ListSegmentSizes(asked, None)

    await inside.record([identified(stream, keys[stream], 7 * SECOND, city="x" * 5_000)])
    await caught_up(parts.keeper)
    now = pb.ListSegmentMembersRequest(segment="kiel", purpose=allowed.name)
    then = pb.ListSegmentMembersRequest(segment="kiel", purpose=allowed.name, valid_at=member.enter_time)
    before = pb.ListSegmentMembersRequest(segment="kiel", purpose=allowed.name, valid_at=began, known_at=began)
    assert [await listed_of(api, one, stream) for one in (now, then, before)] == [[True], [False], []], "too large to judge by"


async def test_an_event_that_comes_while_time_is_looked_at_is_the_cause_of_what_it_made(inside: Inside) -> None:
    """The states of those who are due are loaded after what was followed: an event may be in them that isn't followed yet."""
    parts, streams = inside.parts, sorted(new_id() for _ in range(2))
    keys = await inside.keys(streams)
    await inside.record([founded(stream, number) for number, stream in enumerate(streams)])
    await activated(parts, command(RULES))
    await caught_up(parts.keeper)
    order = now_us()
    await inside.record([tracked(stream, keys[stream], order) for stream in streams])
    while (await parts.memberships.sizes()).get("buyers", 0) < len(streams) and now_us() < order + 2 * SECOND:
        await caught_up(parts.keeper)
    was_in = {stream for stream in streams if await history(inside, "buyers", stream)}
    await asyncio.sleep(max(0, order + 2 * SECOND - now_us()) / SECOND)
    moved, read = streams
    late = identified(moved, keys[moved], 3, city="Kiel")
    await inside.record([late, identified(read, keys[read], 3, city="Bremen")])
    await parts.keeper._pass_time(parts.rulebook.rules, 10, Looks(None))
    await caught_up(parts.keeper)
    [entered] = await parts.memberships.changes("kiel", [moved], END_OF_TIME, 5)
    assert (entered.entered, entered.cause, entered.event_id) == (True, "event", late.event_id)
    for stream in was_in:  # on a machine that took two seconds for it nobody ever was
        assert await history(inside, "buyers", stream) == [(True, "event"), (False, "time")], "no event made that"


async def listed_of(api: SegmentApi, asked: pb.ListSegmentMembersRequest, stream: bytes) -> list[bool]:
    """Whether that of a customer is judged by less than all, where it is listed; others may be there."""
    found: list[bool] = []
    while True:
        page = await api.ListSegmentMembers(asked, Deadline(PATIENCE_S))
        found += [one.cut for one in page.members if one.customer_id == to_text(stream)]
        if not (token := page.next_page_token):
            return found
        asked.page_token = token


async def test_members_are_listed_by_page_for_a_purpose_that_may_see_them(inside: Inside) -> None:
    parts, streams = inside.parts, sorted(new_id() for _ in range(5))
    keys = await inside.keys(streams)
    wanted, permitting = purpose("consent", "city"), streams[::2]
    await inside.define(wanted)
    await inside.record(
        entry
        for number, stream in enumerate(streams)
        for entry in (
            founded(stream, number),
            linked(stream, keys[stream], f"{number}@example.com"),
            identified(stream, keys[stream], 1, city="Kiel"),
        )
    )
    await activated(parts, command(RULES))
    await caught_up(parts.keeper)
    assert (await parts.memberships.sizes())["kiel"] == len(streams)
    for stream in permitting:
        await inside.decide(decision(derived_id(f"{streams.index(stream)}@example.com".encode()), "granted", 1))
    api = api_of(inside)
    shown, withheld, request = [], 0, pb.ListSegmentMembersRequest(segment="kiel", purpose=wanted.name, page_size=2)
    while True:
        answer = await api.ListSegmentMembers(request, Deadline(0))
        shown += [one.customer_id for one in answer.members]
        withheld += answer.withheld_count
        request.page_token = answer.next_page_token
        token = base64.urlsafe_b64decode(request.page_token)
        assert not any(stream in token for stream in streams), "a token names nobody, least of all who is withheld"
        if not request.page_token:
            break
    assert (shown, withheld) == ([to_text(stream) for stream in permitting], len(streams) - len(permitting))
    changes = await api.ListMembershipChanges(pb.ListMembershipChangesRequest(segment="kiel", purpose=wanted.name), Deadline(0))
    assert ({one.customer_id for one in changes.changes}, changes.withheld_count) == (set(shown), withheld)
    request.page_token = Page(pb.ListSegmentMembersRequest(segment="kiel", purpose=wanted.name), BY_PLACE).token_of(b"another's")
    with pytest.raises(InvalidInput, match="page token"):
        await api.ListSegmentMembers(request, Deadline(0))
    request.page_token = ""
    first = parts.rulebook.in_force.version
    await activated(parts, command(RULES.replace("traits.city == 'Kiel'", "has(traits.income)")))
    await caught_up(parts.keeper)
    await activated(parts, command(RULES))
    with pytest.raises(Unavailable, match="looked at"):
        await api.ListSegmentMembers(request, Deadline(0))
    await caught_up(parts.keeper)
    assert (await api.ListSegmentMembers(request, Deadline(0))).members
    changes = await api.ListMembershipChanges(pb.ListMembershipChangesRequest(segment="kiel", purpose=wanted.name), Deadline(0))
    assert {one.rules_version for one in changes.changes} == {first}, "what came by another condition tells of an income"
    assert (len(changes.changes), changes.withheld_count) == (len(shown), 3 * len(streams) - len(shown))
    with pytest.raises(NotPermitted, match="may not see"):
        await api.ListSegmentMembers(pb.ListSegmentMembersRequest(segment="buyers", purpose=wanted.name), Deadline(0))
