"""Laws of what the HTTP Profile API shows: what the purpose may see, all of it, each once, however it is cut into pages."""

from random import Random
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import Instant
from services.profile.belonging import Belonging
from services.profile.domain.golden import COMPUTED, GoldenRecord, GoldenTrait
from services.profile.domain.rules_document import read, rules_of
from services.profile.domain.state import linked
from services.profile.http.address import Target, target_of
from services.profile.http.queries import query_of
from services.profile.http.resources import Read, traits, wanted_by
from services.profile.origins import first_links
from services.profile.profile import Profile
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id
from shared.log import Record
from tests.properties.histories import KEY, STREAMS, fold
from tests.properties.people_read import purpose

RULES = rules_of(read('{"computed": {"c": {"aggregate": "count", "of": "event.name == \'Bought\'"}}}'), 2)
# Without "*", by which a purpose sees everything.
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4).filter(lambda name: name != "*") | st.sampled_from(
    ["c", "first_name", "plan"]
)
values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), st.lists, max_leaves=3)


def asked(record: GoldenRecord, seeing: list[str], question: dict[str, Any]) -> Read:
    query = query_of(urlencode(question).encode(), "traits")
    profile = Profile(record, 1, {}, {}, RULES)
    target = Target("main", "user_id:u", "traits")
    return Read(
        target, record.members[0], query, wanted_by(query, "traits", "contract"), purpose("contract", *seeing), Instant(), profile
    )


@given(
    held=st.dictionaries(names, values, max_size=12),
    seeing=st.lists(names, min_size=1, max_size=8),
    include=st.none() | st.lists(names.filter(lambda name: "," not in name), min_size=1, max_size=4),
    limit=st.integers(1, 5),
    kind=st.sampled_from(["", "computed_trait", "audience"]),
    entered=st.lists(names, unique=True, max_size=4),
    verbose=st.booleans(),
)
def test_the_pages_together_are_what_the_purpose_may_see_of_what_was_asked(
    held: dict[str, Any],
    seeing: list[str],
    include: list[str] | None,
    limit: int,
    kind: str,
    entered: list[str],
    verbose: bool,
) -> None:
    golden = {name: GoldenTrait(value, COMPUTED if name == "c" else "web", 0, b"e" * 16) for name, value in held.items()}
    record = GoldenRecord(STREAMS, golden, {}, 0, 0, "")
    question: dict[str, Any] = {"limit": limit, "verbose": str(verbose).lower()}
    question |= {"include": ",".join(include)} if include else {}
    question |= {"class": kind} if kind else {}
    belonging = Belonging(entered, [], [], RULES) if kind == "audience" else None
    found: list[tuple[str, Any]] = []
    while True:
        answer = traits(asked(record, seeing, question), frozenset(), belonging).content
        assert len(answer["traits"]) <= limit
        found += answer["traits"].items()
        address = urlsplit(answer["cursor"]["url"])
        assert target_of(address.path.encode()).part == "traits"
        assert "user_id" not in address.path
        if not answer["cursor"]["has_more"]:
            break
        assert answer["traits"], "a page that goes on has something"
        question = {name: value for name, [value] in parse_qs(address.query, strict_parsing=True).items()}
    told = {name: value for name, value in held.items() if name in seeing and (kind == "" or name == "c")}
    wanted = dict.fromkeys(entered, True) if kind == "audience" else told
    wanted = {name: value for name, value in wanted.items() if not include or name in include}
    assert len(found) == len(wanted)
    assert {name: told["value"] if verbose else told for name, told in found} == wanted


hashes = st.sampled_from([b"a" * 16, b"b" * 16])


@st.composite
def linkings(draw: st.DrawFn) -> list[Entry]:
    """Links of one customer, some of them taken back."""
    entries = []
    for number in range(draw(st.integers(0, 6))):
        value_hash, at = draw(hashes), draw(st.integers(0, 9))
        link = events.IdentifierLinked(namespace="email", value_hash=value_hash, cause=b"")
        link_id = derived_id(b"link", bytes([number]))
        entries.append(make_entry(events.LINKED, STREAMS[0], link_id, at, link, events.LinkedValue(value="x"), KEY))
        if draw(st.booleans()):
            back = events.IdentifierUnlinked(link_id=link_id, value_hash=value_hash, cause=b"")
            entries.append(make_entry(events.UNLINKED, STREAMS[0], derived_id(b"back", link_id), at + 1, back))
    return entries


@given(linkings(), st.randoms())
def test_each_identifier_that_is_linked_has_an_origin_and_no_other_whatever_the_order(history: list[Entry], random: Random) -> None:
    records = [Record(0, pos, pos + 1, pos, entry) for pos, entry in enumerate(history)]
    first = first_links(records)
    assert first.keys() == linked(fold(history)).keys()
    live = [entry for entry in history if entry.type_id == events.LINKED.id and _stays(entry, history)]
    for value_hash, link in first.items():
        assert link.entry.occurred_at == min(e.occurred_at for e in live if e.public().value_hash == value_hash)
    random.shuffle(records)
    assert first_links(records) == first


def _stays(link: Entry, history: list[Entry]) -> bool:
    return all(entry.type_id != events.UNLINKED.id or entry.public().link_id != link.event_id for entry in history)
