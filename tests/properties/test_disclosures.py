"""What was read is in the log as it was read: nothing is lost, doubled or mixed up where many reads become one event."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.disclosing import GATHER_S, Call, Disclosing, gathering_s
from services.profile.domain.disclosure import OTHER, Disclosure, Given, packed, plain, unpacked, withheld_names
from shared.errors import CustomerError, Unavailable
from shared.events.catalogue import encode
from shared.events.disclosures import DISCLOSURES_RECORDED, Terms

words = st.sampled_from(["", "email", "first_name", "identifier:email"])
names = st.lists(words, max_size=3).map(tuple)
ids = st.lists(st.sampled_from([b"a" * 16, b"b" * 16, b"c" * 16]), max_size=3).map(tuple)
terms = st.builds(
    Terms,
    call=words,
    purpose=words,
    purpose_version=st.integers(1, 3),
    policy=st.just(b"p"),
    legal_basis=words,
    outcome=st.sampled_from(["permit", "partial", "deny", "gap"]),
    fields=names,
    withheld=st.lists(st.tuples(words, names), max_size=2).map(tuple),
)
answers = st.lists(
    st.builds(Given, terms=terms, members=ids, evidence=ids, positions=st.just(((0, 7),)), tag=words), min_size=1, max_size=4
)


@st.composite
def reads(draw: st.DrawFn) -> list[Disclosure]:
    """Some of the same answers, as when one that is ready is given out again."""
    answer = st.sampled_from(draw(answers))
    return draw(st.lists(st.builds(Disclosure, answer, words, st.integers(0, 9), words), max_size=12))


@given(reads())
def test_many_reads_are_one_event_and_the_same_reads_come_out_of_it(found: list[Disclosure]) -> None:
    stored = DISCLOSURES_RECORDED.forms[-1].read_public(encode(packed(found)))
    assert list(unpacked(stored)) == found


@given(st.integers(1, 2_000), st.integers(0, 50))
def test_a_read_takes_less_than_200_bytes_where_many_are_alike(count: int, fields: int) -> None:
    shown = Terms("GetProfile", "service", 1, bytes(32), "contract", "permit", "", tuple(f"field_{n}" for n in range(fields)))
    found = [
        Disclosure(Given(shown, (n.to_bytes(16),), (n.to_bytes(16),), 7, ((0, n),), tag="x" * 22), "shop", 1 << 50, "x" * 36)
        for n in range(count)
    ]
    assert len(encode(packed(found))) <= 200 * count + 150 + 16 * fields


@given(st.lists(st.text()))
def test_only_plain_names_are_kept(given_names: list[str]) -> None:
    kept = plain(given_names)
    assert set(kept) - {OTHER} <= set(given_names)
    assert (OTHER in kept) == any(name not in kept for name in given_names if name != OTHER) or OTHER in given_names
    assert not [name for name in kept if name != OTHER and re.search(r"[^A-Za-z0-9_.:]|^[0-9]", name)]


def test_of_many_withheld_names_some_are_kept_and_it_is_said() -> None:
    [(reason, kept)] = withheld_names((f"trait_{number:04}", "NOT_IN_PURPOSE") for number in range(1_000))
    assert reason == "NOT_IN_PURPOSE"
    assert len(kept) == 100
    assert OTHER in kept


class Store:
    """Takes its time, fails when it is told to, and keeps what it took."""

    def __init__(self, fails: Sequence[bool]) -> None:
        self.kept: list[Disclosure] = []
        self._fails = list(fails)
        self.writing = False

    async def write(self, unit: Sequence[Disclosure]) -> None:
        assert not self.writing, "one at a time"
        self.writing = True
        for _ in range(3):
            await asyncio.sleep(0)
        self.writing = False
        if self._fails and self._fails.pop(0):
            raise Unavailable("down", reason="DISCLOSURE_NOT_RECORDED")
        self.kept += unit


SOME = Given(Terms("GetProfile", "service", 1, b"", "contract", "permit"), (b"a" * 16,))


async def answered(store: Store, arrivals: Sequence[int]) -> list[str]:
    """Request ids of the reads that were answered; `arrivals` are how many come together."""
    disclosing, found = Disclosing(store.write, lambda: 1), list[str]()

    async def read(request_id: str) -> None:
        await disclosing.one(SOME, Call("GetProfile", "shop", request_id))
        found.append(request_id)

    reading = []
    for wave, count in enumerate(arrivals):
        reading += [asyncio.create_task(read(f"{wave}.{number}")) for number in range(count)]
        await asyncio.sleep(0)
        if reading and wave % 3 == 2:
            reading[-1].cancel()  # who went away is written down all the same, or not at all
    await asyncio.gather(*reading, return_exceptions=True)
    return found


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.booleans(), max_size=8))
def test_what_is_answered_was_written_down_before_and_what_is_not_written_down_is_not_answered(
    arrivals: list[int], fails: list[bool]
) -> None:
    store = Store(fails)
    found = asyncio.run(answered(store, arrivals))
    kept = [one.request_id for one in store.kept]
    assert len(kept) == len(set(kept))
    assert set(found) <= set(kept)


def test_a_read_that_can_not_be_written_down_fails() -> None:
    async def fail() -> None:
        await Disclosing(Store([True]).write, lambda: 1).one(SOME, Call("GetProfile", "shop"))

    with pytest.raises(Unavailable) as refused:
        asyncio.run(fail())
    assert refused.value.reason == "DISCLOSURE_NOT_RECORDED"


@given(st.floats(0, 2), st.floats(0, 2))
def test_the_more_there_is_to_do_the_longer_is_gathered(one: float, other: float) -> None:
    assert gathering_s(min(one, other)) <= gathering_s(max(one, other))
    assert 0 == gathering_s(0) <= gathering_s(one) <= gathering_s(1) == GATHER_S


@given(st.integers(0, 350), st.booleans(), st.sets(st.integers(0, 349), max_size=5))
def test_whoever_waits_without_a_task_is_told_once_whatever_becomes_of_the_others(
    count: int, fails: bool, stumbling: set[int]
) -> None:
    told: Counter[int] = Counter()

    async def read() -> None:
        store = Store([fails])
        disclosing = Disclosing(store.write, lambda: 1)

        def then(number: int, error: CustomerError | None) -> None:
            assert bool(error) == fails or bool(store.kept), "it is written down before"
            told[number] += 1
            if number in stumbling:
                raise ValueError(number)

        for number in range(count):
            disclosing.write_down(SOME, Call("GetProfile", "shop"), partial(then, number))
        async with asyncio.timeout(30):
            while len(told) < count:  # noqa: ASYNC110
                await asyncio.sleep(0)

    asyncio.run(read())
    assert told == Counter(range(count))
