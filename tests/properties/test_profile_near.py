"""What was read as of one instant is gone on from by reads of later ones, and every answer is as if it had been asked for alone."""

from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import Instant
from services.profile.domain.rules import PLAIN
from services.profile.tables import folding
from services.profile.tables.near import Near
from services.profile.tables.snapshots import Past as PastOfStream
from tests.properties.past_store import AUDIT, Past
from tests.properties.pasts import CUSTOMERS, Teller, instants, or_end, pasts
from tests.properties.plain_replay import plain_profile, plain_refusal, plain_refusal_of_others
from tests.properties.test_profile_time import asked, told

UNSNAPPED = 100  # longer than any of these pasts
reads = st.lists(st.tuples(st.sampled_from(CUSTOMERS), instants), min_size=2, max_size=12)


@given(pasts, reads, pasts, reads)
async def test_reads_one_after_the_other_are_what_a_plain_replay_gives(
    steps: list[Any], early: list[Any], more: list[Any], late: list[Any]
) -> None:
    past, teller = await told(steps, UNSNAPPED)
    await read_as_replayed(past, teller, early)
    for _, step in more:
        if step[0] != "read":
            teller.play(step)
    teller.commit()
    await read_as_replayed(past, teller, late)


async def read_as_replayed(past: Past, teller: Teller, wanted: list[Any]) -> None:
    for customer, (valid_at, percent) in wanted:
        instant = Instant(or_end(valid_at), or_end(percent and teller.known_at(percent)))
        refusal = plain_refusal(past, customer, AUDIT, instant.is_now) or plain_refusal_of_others(past, customer, AUDIT, instant)
        plain = plain_profile(past, customer, instant.valid_at, instant.known_at)
        assert await asked(past, customer, AUDIT, instant) == (refusal or (plain[0] if plain else "CUSTOMER_UNKNOWN"))


async def test_only_what_happened_since_the_instant_before_is_folded() -> None:
    steps: list[Any] = [(0, ("identify", at % 3, at, "app", {"city": "Kiel"})) for at in range(1, 30)]
    past, _ = await told([*steps, (0, ("merge", 0, 1, 5)), (0, ("merge", 1, 2, 6))], UNSNAPPED)
    folded = []
    for valid_at in (20, 22, 22, 21):
        with patch.object(folding, "_step", side_effect=folding._step) as step:
            await past.profiles.as_of(CUSTOMERS[0], Instant(valid_at))
        folded.append(step.call_count)
    others = folded[2]  # what the store of this test folds for itself
    assert folded[0] > others + 10
    assert folded[1] == others + 2
    assert folded[3] == others + 1


def test_nothing_stays_of_a_stream_that_is_another() -> None:
    near, lasts = Near(streams_at_least=1, folded_at_least=0), {b"a": 1, b"b": 2}
    near.keep(5, PLAIN, lasts, {stream: PastOfStream() for stream in lasts}, 3)
    near.changed([b"a"])
    assert near.before(lasts, 6, PLAIN)[1].keys() == {b"b"}
    near.changed(None)
    assert near.before(lasts, 6, PLAIN) == (6, {})


def test_no_more_is_kept_than_there_is_room_for() -> None:
    near, lasts = Near(streams_at_least=1, folded_at_least=0), {b"a": 1}
    for valid_at in range(3):
        with patch("services.profile.tables.near.KEPT_BYTES", 2):  # of an empty state one
            near.keep(valid_at, PLAIN, lasts, {b"a": PastOfStream()}, 1)
    assert near.before(lasts, 0, PLAIN) == (0, {})
    assert near.before(lasts, 2, PLAIN)[0] == 2
