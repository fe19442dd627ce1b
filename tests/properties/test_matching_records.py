"""Laws of the records: merged in any order they are the same, and what blocks propose bit by bit is as all at once."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.facts import Evidence
from services.identity.matching import blocking, model
from services.identity.records.likeness import Comparer, Kept, RecordPair
from services.identity.records.proposing import Blocks, propose, withdrawn
from services.identity.records.said import Said, completed_by, decode_statements, encode_statements, merge, person_of, read, sayings

CAP = 3
COMPARER = Comparer(model.default(), -inf)

names = st.sampled_from(["Ann", "Bo", "", None])
events = st.fixed_dictionaries(
    {},
    optional={
        "first_name": names,
        "lastName": names,
        "name": st.sampled_from(["Ann Lee", "Lee, Ann", "Ann"]),
        "address": st.one_of(st.none(), st.fixed_dictionaries({"street": st.sampled_from(["1 Elm St", "2 Oak St"])})),
        "city": names,
        "birthday": st.sampled_from(["1990-01-02", "02.01.1990", 19900102, True]),
    },
)
said = st.lists(st.tuples(events, st.integers(0, 5)), max_size=8)


def heard(traits: dict[str, Any], at: int, number: int) -> dict[str, Said]:
    return read(traits, Evidence(at, bytes([number])))


@given(said, st.randoms(use_true_random=False))
def test_what_a_source_said_is_the_same_in_any_order_and_twice(said: list[tuple[Any, int]], random: Any) -> None:
    statements = [heard(traits, at, number) for number, (traits, at) in enumerate(said)]
    expected: dict[str, Said] = {}
    for one in statements:
        expected = merge(expected, one)
    shuffled = [*statements, *statements[:3]]
    random.shuffle(shuffled)
    found: dict[str, Said] = {}
    for one in shuffled:
        found = merge(found, one)
    assert found == expected
    assert person_of(found) == person_of(expected)


@given(said)
def test_every_field_is_what_its_latest_event_said_and_as_old_as_the_first_that_said_so(said: list[tuple[Any, int]]) -> None:
    found: dict[str, Said] = {}
    statements = [heard(traits, at, number) for number, (traits, at) in enumerate(said)]
    for one in statements:
        found = merge(found, one)
    for name, kept in found.items():
        assert kept.evidence == max(one[name].evidence for one in statements if name in one)
        assert kept.since[:2] == min(one[name].evidence for one in statements if name in one and one[name].parts == kept.parts)
    since = [Evidence(*one.since[:2]) for one in found.values() if one.parts]
    assert completed_by(found.values()) == max(since, default=Evidence(0, b""))


@given(said, said, st.randoms(use_true_random=False))
def test_what_makes_two_alike_is_the_same_in_any_order_of_what_was_said(mine: list[Any], its: list[Any], random: Any) -> None:
    """Compared whenever one of the two is somebody else by what was said, or was before (`comparing.Comparing`)."""
    statements = [(i, heard(traits, at, n)) for i, told in ((b"a", mine), (b"b", its)) for n, (traits, at) in enumerate(told)]
    at_once = {i: kept(i, [one for j, one in statements if i == j]) for i in (b"a", b"b")}
    random.shuffle(statements)
    bit_by_bit, like = {i: kept(i, []) for i in (b"a", b"b")}, COMPARER.compare(kept(b"a", []), kept(b"b", []))
    for number, (i, _) in enumerate(statements):
        now = kept(i, [one for j, one in statements[: number + 1] if i == j])
        same, bit_by_bit[i] = (now.person, now.said_by) == (bit_by_bit[i].person, bit_by_bit[i].said_by), now
        if not same and (found := COMPARER.compare(bit_by_bit[b"a"], bit_by_bit[b"b"])) is not None:
            like = found.news(like) or like
    expected = COMPARER.compare(at_once[b"a"], at_once[b"b"])
    assert like is not None
    assert expected is not None
    assert like.says_as(expected)
    assert like.grounds() == expected.grounds()


def kept(record: bytes, statements: list[dict[str, Said]]) -> Kept:
    merged: dict[str, Said] = {}
    for one in statements:
        merged = merge(merged, one)
    return Kept(record, record, "web", person_of(merged), completed_by(merged.values()), sayings(merged.values()))


@dataclass
class Tables:
    """As `record_tables` keeps them: what is known of pairs is what blocks proposed so far."""

    keys_of: dict[bytes, frozenset[bytes]] = field(default_factory=dict)
    matches: set[RecordPair] = field(default_factory=set)
    returned: set[bytes] = field(default_factory=set)
    most_members: int = 0

    def members(self, key: bytes) -> set[bytes]:
        return {record for record, keys in self.keys_of.items() if key in keys}

    def take(self, changed: dict[bytes, frozenset[bytes]]) -> None:
        before = {record: self.keys_of[record] for record in changed if record in self.keys_of}
        touched = {key for keys in (*changed.values(), *before.values()) for key in keys} | self.returned
        limit = CAP + len(changed) + 1
        members = {key: set(sorted(self.members(key))[:limit]) for key in touched}
        proposed = propose(Blocks(members, before, CAP), changed, self.returned)
        inside = {record for found in proposed.retired.values() for record in found} - changed.keys()
        known = {ids for ids in self.matches if set(ids) <= inside}
        self.matches = {ids for ids in self.matches if changed.keys().isdisjoint(ids)}
        self.keys_of |= changed
        sizes = {key: len(self.members(key)) for keys in self.keys_of.values() for key in keys}
        self.matches -= withdrawn(known, self.keys_of, sizes | proposed.sizes, CAP)
        self.matches |= proposed.pairs
        self.returned = set()

    def forget(self, gone: set[bytes]) -> None:
        sizes = {key: len(self.members(key)) for record in gone for key in self.keys_of.get(record, ())}
        for record in gone:
            self.keys_of.pop(record, None)
        self.matches = {ids for ids in self.matches if gone.isdisjoint(ids)}
        self.returned |= {key for key, size in sizes.items() if size > CAP >= len(self.members(key))}


record_ids = st.integers(1, 12).map(lambda number: bytes([number]))
block_keys = st.frozensets(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), max_size=3)
batches = st.lists(
    st.one_of(st.dictionaries(record_ids, block_keys, min_size=1, max_size=6), st.sets(record_ids, max_size=3)), max_size=12
)


@given(batches)
def test_what_is_compared_bit_by_bit_is_what_all_at_once_would_be(batches: list[Any]) -> None:
    """Records come, change and are erased; blocks are retired with what they alone proposed, and come back."""
    tables = Tables()
    for batch in batches:
        if isinstance(batch, dict):
            tables.take(batch)
        else:
            tables.forget(batch)
    tables.take({})
    expected = blocking.pairs({record.hex(): [key.hex() for key in keys] for record, keys in tables.keys_of.items()}, CAP)
    assert tables.matches == {(bytes.fromhex(one), bytes.fromhex(other)) for one, other in expected}


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.from_regex(r"[0-9./\- ]{0,12}")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
    max_leaves=5,
)
FIELDS = ("firstName", "last_name", "name", "birthday", "email", "phone", "ssn", "street", "city", "zip", "address")


@given(st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=10)), anything, max_size=6))
def test_whatever_a_source_says_can_be_read_and_compared(traits: dict[str, Any]) -> None:
    found = read(traits, Evidence(1, b"event"))
    assert decode_statements(encode_statements(found)) == found
    person = person_of(found)
    assert all(isinstance(key, str) for key in blocking.keys(person))
    one, other = (Kept(name, name, "web", person, Evidence(1, b"event")) for name in (b"a", b"b"))
    like, reversed_like = COMPARER.compare(one, other), COMPARER.compare(other, one)
    assert like == reversed_like
