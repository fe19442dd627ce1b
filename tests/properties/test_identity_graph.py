"""Laws of the graph: what is founded, linked and merged replays to the same graph; limits hold at every moment."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain import KNOWN_PERSON, MAX_CLUSTER_IDENTIFIERS, Conclusion, Graph, Sighting, decide, evolve
from shared.identifiers import hash_of, normalise, strength

KEY = b"k" * 32
names = st.sampled_from(
    [
        "user_id:u1",
        "user_id:u2",
        "user_id:u3",
        "email:a@x.example",
        "email:b@x.example",
        "phone:+4930901820",
        "anonymous_id:d1",
        "anonymous_id:d2",
        "ios.id:h1",
        "android.idfa:h2",
    ]
)
devices = st.sampled_from(["ios.id:h1", "ios.idfa:h2", "android.push_token:h3"])
seen_together = st.lists(st.sets(names, min_size=1, max_size=4), max_size=20)


def play(events: list[set[str]]) -> tuple[Graph, list[bytes], list[Conclusion]]:
    graph, homes, conclusions, ids = Graph(), [], [], count(1)
    for number, texts in enumerate(events):
        parsed = sorted((normalise(*t.split(":", 1)) for t in texts), key=lambda i: (strength(i.namespace), i))
        sighting = Sighting(number.to_bytes(16), [(hash_of(i, KEY), i) for i in parsed])
        home, concluded = decide(graph, sighting, lambda: next(ids).to_bytes(16))
        homes.append(home)
        conclusions += concluded
    return graph, homes, conclusions


@given(seen_together)
def test_replaying_the_conclusions_gives_the_same_graph(events: list[set[str]]) -> None:
    graph, _, conclusions = play(events)
    replayed = Graph()
    for conclusion in conclusions:
        evolve(replayed, conclusion)
    assert replayed == graph


@given(seen_together)
def test_events_seen_again_conclude_nothing_and_go_where_they_went(events: list[set[str]]) -> None:
    single = [e for e in events if len({n for n in e if n.startswith(KNOWN_PERSON)}) <= 1]
    graph, homes, _ = play(single)
    _, again, conclusions = play(single + single)
    assert again[: len(single)] == homes
    assert again[len(single) :] == [graph.links[_strongest(e)] for e in single]
    assert len(conclusions) - len(play(single)[2]) <= sum(1 for _ in single), "only merges that an earlier event couldn't see yet"


@given(seen_together)
def test_a_cluster_has_one_known_person_unless_one_event_named_two(events: list[set[str]]) -> None:
    single = [e for e in events if len({n for n in e if n.startswith(KNOWN_PERSON)}) <= 1]
    graph, _, _ = play(single)
    for cluster in graph.clusters.values():
        assert len(cluster.known_people) <= 1
        assert cluster.size <= MAX_CLUSTER_IDENTIFIERS
        assert cluster.canonical == min(cluster.members, key=graph.founding_numbers.__getitem__)


@given(seen_together)
def test_every_identifier_ever_seen_resolves(events: list[set[str]]) -> None:
    graph, homes, _ = play(events)
    for texts, home in zip(events, homes, strict=True):
        assert graph.links[_strongest(texts)] == home
        assert all(hash_of(normalise(*t.split(":", 1)), KEY) in graph.links for t in texts)


@given(st.lists(st.tuples(st.none() | st.sampled_from("abcd"), st.sets(devices, min_size=1)), max_size=20))
def test_people_who_share_nothing_but_hardware_never_meet(visits: list[tuple[str | None, set[str]]]) -> None:
    events = [{f"email:{name}@x.example"} | seen if name else seen for name, seen in visits]
    graph, _, _ = play(events)
    named = {graph.cluster_of(hash_of(normalise("email", f"{name}@x.example"), KEY)).canonical for name, _ in visits if name}
    assert len(named) == len({name for name, _ in visits if name})


def _strongest(texts: set[str]) -> bytes:
    parsed = sorted((normalise(*t.split(":", 1)) for t in texts), key=lambda i: (strength(i.namespace), i))
    return hash_of(parsed[0], KEY)
