"""Who is in which segment, made anew beside what is served: equal to it, or to what the log says; with events, merges and rules meanwhile."""

from typing import Any

import pytest
from c360.profile.v1 import segment_pb2 as pb

from services.profile.remaking import Remaker
from services.profile.tables import memberships, remade
from services.profile.tables.editions import Superseded
from services.profile.tables.memberships import MADE, Change
from shared.instants import now_us
from tests.live.inside import Inside, new_id
from tests.live.test_profile_rules import activated, command
from tests.live.test_segments import Deadline, caught_up, inside
from tests.live.test_segments_settling import Town, document, town_of

__all__ = ["inside"]
TIMED = document("Kiel").replace("computed.orders >= 1", "computed.orders >= 1 && now < timestamp('2200-01-01T00:00:00Z')")


def remaker(town: Town, number: int = 1) -> Remaker:
    keeper = town.inside.parts.keeper
    return Remaker(keeper._pool, town.inside.vault, keeper._partitions, number, page_customers=1)


async def kept(inside: Inside, schema: str = "profile") -> dict[str, list[tuple[Any, ...]]]:
    pool = inside.parts.keeper._pool
    return {table: [tuple(row) for row in await pool.fetch(f"SELECT * FROM {schema}.{table} ORDER BY 1, 2")] for table in MADE}


async def journal(inside: Inside) -> list[tuple[Any, ...]]:
    rows = await inside.parts.keeper._pool.fetch("SELECT * FROM segment_changes ORDER BY number")
    return [tuple(row) for row in rows]


async def told(inside: Inside) -> set[tuple[str, bytes]]:
    """Who is in which segment by its history; nobody enters twice or leaves what it isn't in."""
    found: set[tuple[str, bytes]] = set()
    for row in await inside.parts.keeper._pool.fetch("SELECT segment, customer, entered FROM segment_changes ORDER BY number"):
        one = (row["segment"], row["customer"])
        assert (one in found) is not row["entered"]
        (found.add if row["entered"] else found.remove)(one)
    return found


async def lived_in(inside: Inside) -> Town:
    town = await town_of(inside)
    await activated(inside.parts, command(TIMED))
    for _ in range(4):
        await town.live()
        await caught_up(inside.parts.keeper)
    return town


async def nothing(_looked_at: int, _customers: int) -> None: ...


async def test_made_anew_it_is_what_it_was_whatever_was_done_to_its_rows(inside: Inside) -> None:
    town = await lived_in(inside)
    before, history, pool = await kept(inside), await journal(inside), inside.parts.keeper._pool
    assert all(before.values())
    seen: list[tuple[int, int]] = []

    async def see(looked_at: int, customers: int) -> None:
        seen.append((looked_at, customers))

    assert await remaker(town).make(see) == 0
    assert (await kept(inside), await journal(inside)) == (before, history)
    assert seen == [(number, len(town.streams)) for number in range(1, len(town.streams) + 1)]
    await pool.execute("DELETE FROM segment_members WHERE segment = 'buyers'")
    await pool.execute("DELETE FROM segment_due")
    await pool.execute("UPDATE segment_members SET entered_at = 1")
    await pool.execute("INSERT INTO segment_members VALUES ('late', $1, 5), ('gone', $2, 5)", new_id(), town.streams[0])
    assert await remaker(town).make(nothing) == 0, "nothing of it was told to anybody"
    assert (await kept(inside), await journal(inside)) == (before, history)
    assert not any((await kept(inside, "profile_next")).values())


async def test_what_was_told_and_is_not_so_is_corrected_with_a_cause_of_its_own(inside: Inside) -> None:
    town = await lived_in(inside)
    pool, before = inside.parts.keeper._pool, await kept(inside)
    segment, customer, _ = before["segment_members"][0]
    version, now = inside.parts.rulebook.rules.version, now_us()
    late = {one for name, one in await told(inside) if name == "late"}
    stranger = next(one for one in town.streams if one not in late)
    wrong = [
        Change(segment=name, customer=one, entered=entered, rules_version=version, valid_at=now, recorded_at=now, cause="time")
        for name, one, entered in ((segment, customer, False), ("late", stranger, True))
    ]
    async with pool.acquire() as connection, connection.transaction():
        await memberships.write(connection, wrong)
    assert await remaker(town).make(nothing) == len({customer, stranger})
    assert {row[:2] for row in (await kept(inside))["segment_members"]} == {row[:2] for row in before["segment_members"]}
    assert await told(inside) == {row[:2] for row in before["segment_members"]}
    assert sorted(row[1:4] for row in (await journal(inside))[-2:]) == sorted(
        [(segment, customer, True), ("late", stranger, False)]
    )
    assert {row[7] for row in (await journal(inside))[-2:]} == {remade.CAUSE}
    assert await town.listed() == {"buyers", "late", "town"}


@pytest.mark.parametrize("seed", [0, 2])
async def test_with_events_merges_erasure_and_rules_meanwhile_it_is_what_the_function_gives_and_nobody_is_told_of_it(
    inside: Inside, seed: int
) -> None:
    town, parts = await lived_in(inside), inside.parts
    town.random.seed(seed)
    looked = 0

    async def go_on(_looked_at: int, _customers: int) -> None:
        nonlocal looked
        looked += 1
        if looked < 8:
            await town.live()
        if looked == 3:
            await activated(parts, command(document("Bremen")))
        if looked == 6:
            await town.erase()
        if looked == 3 or town.random.random() < 0.5:
            await parts.keeper.step()

    await remaker(town).make(go_on)
    assert looked > len(town.keys), "rules that come meanwhile begin it again"
    await caught_up(parts.keeper)
    made = {row[:2] for row in (await kept(inside))["segment_members"]}
    assert await told(inside) == made
    assert remade.CAUSE not in {row[7] for row in await journal(inside)}
    assert await town.listed() == {"buyers", "late", "town"}
    assert not any((await kept(inside, "profile_next")).values())


async def test_of_two_that_make_it_the_one_that_began_last_goes_on_and_what_is_interrupted_leaves_nothing(inside: Inside) -> None:
    town = await lived_in(inside)
    before = await kept(inside)

    async def another(looked_at: int, _customers: int) -> None:
        if looked_at == 2:
            await remaker(town, 2).make(nothing)

    with pytest.raises(Superseded):
        await remaker(town, 1).make(another)

    async def fail(looked_at: int, _customers: int) -> None:
        if looked_at == 2:
            assert any((await kept(inside, "profile_next")).values())
            asked = pb.ListSegmentMembersRequest(segment="buyers", purpose=town.purpose)
            assert (await town.api.ListSegmentMembers(asked, Deadline(0))).members, "what is served is served on"
            raise KeyError

    with pytest.raises(KeyError):
        await remaker(town, 3).make(fail)
    assert await kept(inside) == before
    assert not any((await kept(inside, "profile_next")).values())
    assert (await inside.parts.memberships.place()).making == 0
