"""Matching on a real PostgreSQL: what the tables come to is the pure function of all that was said."""

import asyncio
import json
import time
import uuid
from itertools import count, permutations
from random import Random
from typing import Any

import asyncpg
import pytest
from c360.common.v1.common_pb2 import CustomerRef
from c360.identity.v1 import matching_pb2
from c360.ingest.v1 import ingest_pb2

from services.cli import paging
from services.identity.api.matching import FIRST_PAGE
from services.identity.app import Unifier
from services.identity.domain.sighting import Suppression
from services.identity.graph.facts import Facts, Match, Node
from services.identity.graph.ownership import divide
from services.identity.graph.rules import DEFAULT_RULES
from services.identity.matcher import MOST_UNNOTED, Matcher
from services.identity.matching import blocking, model
from services.identity.records.likeness import Comparer, Kept, Likeness, best
from services.identity.records.said import Said, completed_by, merge, person_of, read, record_id
from services.identity.tables import erasures, record_tables, views
from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.wire import RawEvent, Unit, decode_unit, encode
from shared.telemetry import ENVELOPES_BROKEN
from tests.e2e.client import Platform
from tests.live import test_identity
from tests.live.command import Command
from tests.live.erasing import identify
from tests.live.test_identity import Store, in_units, partition_of_store, sighting_of

store = test_identity.store
PATIENCE_S = 30.0
CAP = 4  # of a block, so that some are retired
COMPARER = Comparer(model.default(), DEFAULT_RULES.matching.review_weight)
SURNAMES = ("Abendroth", "Bergmann", "Castellani", "Dvorak")
GIVEN = ("Annegret", "Bartholomew", "Cordula", "Dietlinde", "Ekkehard", "Friederike")


async def writers(store: Store) -> tuple[Unifier, Matcher]:
    """A process that has just started."""
    parts = await store.parts(CAP)
    return parts.unifier, parts.matcher


def misspelt(random: Random, text: str) -> str:
    place = random.randrange(len(text) - 1)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :] if random.random() < 0.3 else text


def traffic(random: Random, amount: int) -> list[RawEvent]:
    """Families of several people each, who say who they are in three sources, with slips of the finger and by several names."""
    made = []
    for number in range(amount):
        person = random.randrange(16)
        family = person % 4
        traits: dict[str, Any] = {
            "firstName": misspelt(random, GIVEN[person % 6]),
            "last_name": misspelt(random, SURNAMES[family]),
            "birthday": f"19{50 + person}-0{1 + person % 9}-1{person % 10}",
            "address": {"street": f"{family + 1} Lindenallee", "city": "Quedlinburg", "postal_code": f"0648{family}"},
        }
        for name in random.sample(sorted(traits), k=random.randrange(2)):
            del traits[name]
        made.append(
            RawEvent(
                kind="identify",
                message_id=f"message-{number}",
                source=random.choice(["web", "till", "desk"]),
                external_ids=[("card", f"card-{person}-{random.randrange(3)}")] if random.random() < 0.8 else [],
                anonymous_id=f"device-{person}-{random.randrange(2)}" if random.random() < 0.9 else "family-tablet",
                traits=traits,
                occurred_at=1 + (number * 37) % amount,
                received_at=10_000,
            )
        )
    return made


def matched(raw: list[RawEvent], key: bytes, cap: int = CAP) -> Facts:
    """The facts of all events together, matches included."""
    facts, founding = Facts(), dict[bytes, tuple[str, Node]]()
    said: dict[bytes, dict[str, Said]] = {}
    for event in raw:
        sighting = sighting_of(event, key)
        seen = sighting.seen()
        if len(seen.nodes) > 1:
            facts.see(seen.nodes, seen.evidence)
        record = record_id(event.source, seen.nodes[0].value_hash)
        founding[record] = event.source, seen.nodes[0]
        said[record] = merge(said.get(record, {}), read(event.traits, seen.evidence))
    kept = {
        record: Kept(record, node.value_hash, source, person_of(said[record]), completed_by(said[record].values()))
        for record, (source, node) in founding.items()
    }
    pairs = blocking.pairs({record.hex(): blocking.keys(one.person) for record, one in kept.items()}, cap)
    found = [COMPARER.compare(kept[bytes.fromhex(one)], kept[bytes.fromhex(other)]) for one, other in pairs]
    nodes = {node.value_hash: node for _, node in founding.values()}
    facts.matched = best([like for like in found if like is not None], nodes)
    return facts


async def matches_of_store(pool: Any) -> dict[Any, Match]:
    rows = await pool.fetch("SELECT value_hash, namespace FROM identifiers WHERE own")
    nodes = {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in rows}
    return best((await record_tables.likenesses_among(pool, nodes)).values(), nodes)


def weights(found: dict[Any, Match]) -> dict[Any, tuple[float, float]]:
    return {ends: (match.weight, match.witnessed_weight) for ends, match in found.items()}


def rests_on(found: dict[Any, Match]) -> dict[Any, int]:
    """By when it happened: no two events did at one instant."""
    return {ends: match.evidence.occurred_at for ends, match in found.items()}


async def settled(unifier: Unifier, matcher: Matcher) -> None:
    while await matcher.step():
        pass


async def check(store: Store, raw: list[RawEvent]) -> Facts:
    facts = matched(raw, store.vault.lookup_key)
    assert weights(await matches_of_store(store.pool)) == weights(facts.matched)
    assert rests_on(await matches_of_store(store.pool)) == rests_on(facts.matched)
    partition = divide(facts, DEFAULT_RULES)
    for event in raw:
        if (node := sighting_of(event, store.vault.lookup_key).seen().nodes[0]) not in partition.group_of:
            partition.add(node)
    resolving = {sighting_of(event, store.vault.lookup_key).seen().nodes[0] for event in raw}
    groups = {frozenset(node.value_hash for node in group) for group in partition.groups()}
    assert await partition_of_store(store.pool) == groups - {frozenset({n.value_hash}) for n in partition.shared - resolving}
    return facts


async def check_pages(pool: Any) -> None:
    """One by one as all at once, of all customers."""
    everybody = [row["customer"] for row in await pool.fetch("SELECT customer FROM customers")]
    whole = await record_tables.matches_of(pool, everybody, FIRST_PAGE, 10_000)
    assert list(whole) == sorted(whole, key=lambda ids: (-whole[ids].weight, ids))
    after, listed = FIRST_PAGE, dict[Any, Likeness]()
    while page := await record_tables.matches_of(pool, everybody, after, 7):
        listed |= page
        after = (list(page.values())[-1].weight, list(page)[-1])
    assert list(listed.items()) == list(whole.items())
    homes = await record_tables.household(pool, everybody, (-1, b""), 10_000)
    starts = [(-1, b""), *homes]
    assert [await record_tables.household(pool, everybody, start, 1) for start in starts] == [*([one] for one in homes), []]


@pytest.mark.parametrize("seed", range(4))
async def test_what_the_tables_come_to_is_the_function_of_all_that_was_said(store: Store, seed: int) -> None:
    random = Random(seed)
    raw = traffic(random, 120)
    unifier, matcher = await writers(store)
    for sequence, unit in enumerate(in_units(random, raw), 1):
        if random.random() < 0.2:
            unifier, matcher = await writers(store)
        await unifier.unify(unit, sequence, [])
        if random.random() < 0.5:
            await matcher.step()
    await settled(unifier, matcher)
    facts = await check(store, raw)
    await check_pages(store.pool)
    assert any(DEFAULT_RULES.matching.band(match.weight, match.witnessed_weight) == "link" for match in facts.matched.values())
    assert facts.matched.keys() < matched(raw, store.vault.lookup_key, cap=len(raw)).matched.keys(), "no block was retired"


@pytest.mark.parametrize(("said_last", "expected"), [({}, 10), ({"birthday": "1961-03-17"}, 50)])
async def test_a_question_and_its_match_name_the_same_event_in_whatever_order_it_was_said(
    store: Store, said_last: dict[str, Any], expected: int
) -> None:
    """Somebody says again who she is, and perhaps her birthday, of which nothing is known of the other."""
    orders, random, sequences = list(permutations([(5, "one"), (10, "other"), (50, "other")])), Random(7), count(1)
    told = []
    for number, order in enumerate(orders):
        unifier, matcher = await writers(store)
        names = {name: "".join(random.sample("bcdfghklmnpqrstvwxyz", 9)).title() for name in ("firstName", "lastName")}
        for at, device in (*order, order[0]):
            traits = names | (said_last if at == 50 else {})
            said = test_identity.event_of(str(100 * number + at), anonymous_id=f"{device}-{number}", traits=traits)
            await unifier.unify([said], next(sequences), [])
            await settled(unifier, matcher)
        [asked] = await store.pool.fetch("SELECT * FROM proposals WHERE state = 'open' ORDER BY pos DESC LIMIT 1")
        [match] = await store.pool.fetch("SELECT * FROM matches WHERE event_id = $1", asked["cause"])
        told.append((asked["reason"], match["occurred_at"] - 100 * number))
    assert told == [("LOW_CERTAINTY", expected)] * len(orders)


async def test_a_merge_says_likely_for_as_long_as_nothing_but_a_match_speaks_for_it(store: Store) -> None:
    unifier, matcher = await writers(store)
    traits: dict[str, Any] = {"firstName": GIVEN[0], "last_name": SURNAMES[0], "birthday": "1950-01-10"}
    traits |= {"address": {"street": "1 Lindenallee", "city": "Quedlinburg", "postal_code": "06484"}}
    said = [
        test_identity.event_of(str(at), user_id=user, anonymous_id=device, traits=traits)
        for at, user, device in ((1, "annegret", "phone"), (2, None, "tablet"))
    ]
    await unifier.unify(said, 1, [])
    await settled(unifier, matcher)
    before = {row["merge_id"]: row["likely"] for row in await store.pool.fetch("SELECT * FROM merges")}
    assert list(before.values()) == [True]
    await unifier.unify([test_identity.event_of("3", user_id="annegret", anonymous_id="tablet")], 2, [])
    after = {row["merge_id"]: row["likely"] for row in await store.pool.fetch("SELECT * FROM merges")}
    assert (list(after.values()), after.keys().isdisjoint(before)) == ([False], True)
    units = await store.pool.fetch("SELECT unit FROM outbox ORDER BY number DESC LIMIT 1")
    told = [
        entry.type_id for entry in decode_unit(units[0]["unit"]).entries if entry.type_id in (events.SPLIT.id, events.MERGED.id)
    ]
    assert told == [events.SPLIT.id, events.SPLIT.id, events.MERGED.id, events.MERGED.id]


@pytest.mark.parametrize("seed", range(3))
async def test_who_is_erased_said_nothing_ever(store: Store, seed: int) -> None:
    """Nor do they fill a block any more: what it proposed is back."""
    random = Random(seed)
    raw = traffic(random, 100)
    unifier, matcher = await writers(store)
    for sequence, part in enumerate((raw[:50], raw[50:]), 1):
        await unifier.unify(part, sequence, [])
        await settled(unifier, matcher)
    someone = random.choice(await store.pool.fetch("SELECT customer FROM records"))["customer"]
    members = await views.members(store.pool, someone)
    hashes = {h for found in (await erasures.identifiers_of(store.pool, members)).values() for h in found}
    async with store.pool.acquire() as connection, connection.transaction():
        await record_tables.forget(connection, members, CAP)
        await erasures.erase(connection, members, sorted(hashes), Suppression(b"e", "refuse", 1_000))
    left_over = "SELECT count(*) FROM former_matches WHERE one NOT IN (SELECT record_id FROM records) OR other NOT IN (SELECT record_id FROM records)"
    assert (await store.pool.fetchval(left_over), await store.pool.fetchval("SELECT count(*) > 0 FROM former_matches")) == (0, True)
    unifier.forget()
    matcher.forget()
    assert await record_tables.returned(store.pool, 1)
    await settled(unifier, matcher)
    async with unifier.graph.ledger.turn():
        await unifier.graph.resettle([], lambda _: (), _nothing)
    left = []
    for event in raw:
        if hashes.isdisjoint(value_hash for value_hash, _ in sighting_of(event, store.vault.lookup_key).identifiers):
            left.append(event)
    await check(store, left)


async def _nothing(_: Any) -> None:
    return None


async def test_what_is_heard_or_compared_again_changes_nothing(store: Store) -> None:
    """As after a crash, whatever was committed; and by another model and back."""
    raw = traffic(Random(11), 80)
    unifier, matcher = await writers(store)
    await unifier.unify(raw, 1, [])
    await settled(unifier, matcher)
    written = await store.pool.fetchval("SELECT count(*) FROM events")
    await store.pool.execute("UPDATE matching SET consumed = -1")
    unifier, matcher = await writers(store)
    await settled(unifier, matcher)
    assert await store.pool.fetchval("SELECT count(*) FROM events") == written
    await store.pool.execute("UPDATE matching SET model = 'another'")
    await store.pool.execute("UPDATE matches SET weight = 99, witnessed = true WHERE witnessed")
    unifier, matcher = await writers(store)
    await settled(unifier, matcher)
    await check(store, raw)


async def test_units_that_say_nothing_of_anybody_are_noted_together(store: Store) -> None:
    """And when it is quiet; after a crash, they are heard again."""
    raw = traffic(Random(12), 60)
    unifier, matcher = await writers(store)
    await unifier.unify(raw, 1, [])
    await settled(unifier, matcher)
    noted = []
    for number in range(2 * MOST_UNNOTED):
        view = RawEvent(kind="page", message_id=f"view-{number}", source="web", anonymous_id="a", occurred_at=1, received_at=1)
        await unifier.unify([view], 2 + number, [])
        await settled(unifier, matcher)
        assert matcher.progress.applied("ingest") == 2 + number
        noted.append(unifier.graph.ledger.next_unit - 1 - await store.pool.fetchval("SELECT consumed FROM matching"))
    assert set(noted) == set(range(MOST_UNNOTED))
    raw += traffic(Random(12), 70)[60:]
    unifier, matcher = await writers(store)
    await unifier.unify(raw[60:], 2 + 2 * MOST_UNNOTED, [])
    await settled(unifier, matcher)
    await check(store, [*raw, view])
    await matcher.note()
    assert await store.pool.fetchval("SELECT consumed FROM matching") == unifier.graph.ledger.next_unit - 1


async def test_what_is_read_back_of_an_older_log_comes_to_the_same(store: Store) -> None:
    """All that matching keeps is gone, and so are the units that were handed over; the log is read in any order, parts twice."""
    random, raw = Random(3), traffic(Random(3), 120)
    unifier, matcher = await writers(store)
    await unifier.unify(raw, 1, [])
    await settled(unifier, matcher)
    units = await store.pool.fetch("SELECT unit FROM outbox ORDER BY number")
    entries = [entry for row in units for entry in decode_unit(row["unit"]).entries]
    before = await partition_of_store(store.pool)
    for table in ("records", "blocks", "matches", "matching"):
        await store.pool.execute(f"DELETE FROM {table}")
    number = await store.pool.fetchval("SELECT max(number) + 1 FROM outbox")
    await store.pool.execute("INSERT INTO outbox VALUES ($1, $2, 0)", number, encode(Unit(number, {}, [])))
    await store.pool.execute("DELETE FROM outbox WHERE number < $1", number)
    await store.pool.execute("UPDATE identifiers SET recorded_by = '{}'")
    await store.pool.execute("INSERT INTO unsettled SELECT value_hash FROM identifiers")
    unifier, matcher = await writers(store)
    async with unifier.graph.ledger.turn():
        await unifier.graph.resettle([], lambda _: (), _nothing)
    assert await partition_of_store(store.pool) != before
    random.shuffle(entries)
    for page in (entries[:150], entries[100:], entries[:50]):
        await matcher.read_back(page)
        await matcher.step()
    assert await partition_of_store(store.pool) == before
    await check(store, raw)


async def test_a_record_that_does_not_open_is_an_alarm_and_stays_as_it_is(store: Store) -> None:
    """What is said of it meanwhile, and comparing all again, changes neither it nor what it matched; mended, nothing is missing."""
    random, raw = Random(5), traffic(Random(5), 120)
    unifier, matcher = await writers(store)
    await unifier.unify(raw[:60], 1, [])
    await settled(unifier, matcher)
    altered = [row["record_id"] for row in await store.pool.fetch("SELECT record_id FROM records ORDER BY record_id")][::2]
    await alter(store, altered)
    kept, matches, alarms = await stored(store, altered), await matches_of_store(store.pool), ENVELOPES_BROKEN._value.get()
    await store.pool.execute("UPDATE matching SET model = 'another'")
    unifier, matcher = await writers(store)
    await settled(unifier, matcher)
    assert await matches_of_store(store.pool) == matches
    await unifier.unify(raw[60:], 2, [])
    await settled(unifier, matcher)
    assert await stored(store, altered) == kept
    assert ENVELOPES_BROKEN._value.get() > alarms

    await alter(store, altered)
    unifier, matcher = await writers(store)
    units = await store.pool.fetch("SELECT unit FROM outbox ORDER BY number")
    entries = [entry for row in units for entry in decode_unit(row["unit"]).entries]
    random.shuffle(entries)
    await matcher.read_back(entries)
    await settled(unifier, matcher)
    await check(store, raw)


async def alter(store: Store, records: list[bytes]) -> None:
    """One bit of each; twice is as before."""
    flip = "UPDATE records SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE record_id = ANY($1::bytea[])"
    await store.pool.execute(flip, records)


async def stored(store: Store, records: list[bytes]) -> list[Any]:
    return list(await store.pool.fetch("SELECT * FROM records WHERE record_id = ANY($1::bytea[]) ORDER BY record_id", records))


HOUSE = {"street": "17 Kastanienweg", "city": "Rotenburg", "postal_code": "36199"}


def history(command: Command, person: str) -> list[Any]:
    return [json.loads(line) for line in command.run("identity", "history", person, "--json").stdout.splitlines()]


def check_ground(command: Command, one: str, other: str, explained: Any, match: Any) -> None:
    """Why two are one is told in the same parts, and of the instant at which it became known too; before, nobody knew them."""
    ground = match["comparison"]
    assert match["weight"] == ground["weight"] == explained["weight"]
    assert (ground["parts"], ground["model_version"]) == (explained["parts"], COMPARER.model.version)
    assert [len(ground[f"{side}_said_by"]) for side in ("one", "other")] == [1, 1]
    then = command.json("identity", "match", "explain", one, other, "--known-at", ground["match_time"])
    assert then["comparisons"] == [ground]
    refused = command.run("identity", "match", "explain", one, other, "--known-at", "-1d", code=1).stderr
    assert refused.startswith("IDENTIFIER_UNKNOWN")
    shown = command.run("identity", "why", one, other).stdout
    assert all(text in shown for text in ("birth_date", "12 bits on, with a witness", ground["one_said_by"][0]["event_id"]))


def check_home_of_then(command: Command, one: str, other: str, instant: str) -> None:
    """Where people lived isn't kept: of no past instant it is told that they live together; and before, nobody knew them."""
    assert not command.json("identity", "why", one, other, "--known-at", instant)["one_household"]
    assert command.run("identity", "why", one, other, "--known-at", "-1d", code=1).stderr.startswith("IDENTIFIER_UNKNOWN")


def test_who_says_the_same_with_typos_is_one_and_who_lives_there_too_is_not(stack: Stack) -> None:
    """Two sources know Wilhelmine by no common identifier; her daughter lives with her; of one more only the name is known."""
    with Platform(stack.endpoints) as platform:
        web, till = (platform.register_source(f"{name}-{uuid.uuid4().hex[:8]}") for name in ("web", "till"))
        devices = [uuid.uuid4().hex for _ in range(4)]
        mother = {"first_name": "Wilhelmine", "last_name": "Oppenheimer", "birthday": "1961-04-17", "address": HOUSE}
        again = {"firstName": "Wilhelmine", "lastName": "Openheimer", "dob": "17.04.1961", "address": HOUSE}
        daughter = {"first_name": "Theodora", "last_name": "Oppenheimer", "birthday": "1990-09-02", "address": HOUSE}
        named = {"name": "Theodora Oppenheimer"}
        platform.record(web, identify(mother, anonymous_id=devices[0]), identify(daughter, anonymous_id=devices[2]))
        position = platform.record(
            till, identify(again, anonymous_id=devices[1]), identify(named, anonymous_id=devices[3])
        ).position
        command = Command(stack.data_directory)
        one, other, child, question = (f"anonymous_id:{device}" for device in devices)
        fresh = ("--fresh", f"{position.log}/{position.partition}/{position.number}")

        explained = command.json("identity", "match", "explain", one, other, *fresh)["comparisons"][0]
        assert explained["band"] == "link"
        parts = [part[name] for part in explained["parts"] for name in ("weight", "term_weight")]
        assert sum(parts, explained["prior_weight"]) == pytest.approx(explained["weight"], abs=1e-9)
        assert explained["unrivalled_weight"] == explained["weight"]
        customers = [platform.resolve("anonymous_id", device).customer_id for device in devices]
        assert customers[0] == customers[1]
        assert len(set(customers)) == 3
        assert command.json("identity", "match", "explain", one, child)["comparisons"][0]["band"] == ""
        [link] = command.json("identity", "why", one, other)["links"]
        check_ground(command, one, other, explained, link["match"])
        [merged] = [entry for entry in history(command, one) if entry["type"] == "customer.merged"]
        assert (merged["cause"], merged["chain"], merged["rules_version"]) == ("MATCH", ["anonymous_id"] * 2, 1)
        assert (merged["match_weight"], merged["match_model"]) == (link["match"]["weight"], COMPARER.model.version)
        for told in ("history", "customer"):
            assert f"match of {explained['weight']:.1f} bits" in command.run("identity", told, one).stdout
        apart = command.json("identity", "why", child, question)["obstacles"]
        assert [(obstacle["reason"], obstacle["doubts"]) for obstacle in apart] == [("LOW_CERTAINTY", ["WEIGHT", "WITNESS"])]
        at_home = command.json("identity", "why", one, child)
        assert (at_home["one_household"], at_home["obstacles"]) == (True, [])
        assert "nothing in common" not in command.run("identity", "why", one, child).stdout
        check_home_of_then(command, one, child, link["match"]["comparison"]["match_time"])
        assert set(command.json("identity", "match", "household", one)) == {customers[0], customers[2]}
        her = CustomerRef(customer_id=customers[2])
        home = matching_pb2.ListHouseholdRequest(customer=her, page_size=1)
        alike = matching_pb2.ListMatchesRequest(customer=her, page_size=1)
        assert sorted(paging.entries(platform.matching.ListHousehold, home, "customer_ids", 9, 5)) == sorted(
            {customers[0], customers[2]}
        )
        assert list(paging.entries(platform.matching.ListMatches, alike, "matches", 9, 5)) == platform.matches(
            customers[2], position
        )

        listed = command.json("identity", "match", "list", question)
        assert [(match["other"]["customer_id"], match["band"], match["together"]) for match in listed] == [
            (customers[2], "review", False)
        ]
        proposals = [
            json.loads(line) for line in command.run("identity", "proposals", "--json", "--limit", "500").stdout.splitlines()
        ]
        [asked] = [one for one in proposals if set(one["customer_ids"]) == {customers[2], customers[3]}]
        assert (asked["reason"], asked["doubts"]) == ("LOW_CERTAINTY", ["WEIGHT", "WITNESS"])
        assert asked["weight"] == apart[0]["match"]["weight"]
        assert asked["expire_time"] > asked["propose_time"]
        assert command.json("identity", "match", "model")["version"] == COMPARER.model.version
        assert command.json("identity", "match", "read-back")["records"] >= 4
        assert [platform.resolve("anonymous_id", device).customer_id for device in devices] == customers


def test_what_was_seen_together_and_is_lost_is_read_back_from_profiles_log(stack: Stack) -> None:
    with Platform(stack.endpoints) as platform:
        kind, key = ingest_pb2.EVENT_TYPE_TRACK, platform.register_source("two-names")
        named = ingest_pb2.Event(type=kind, name="Seen", user_id="seen", anonymous_id="seen-with", message_id=str(uuid.uuid4()))
        platform.resolve("user_id", "seen", platform.record(key, named).position)
    command = Command(stack.data_directory)
    assert command.json("identity", "match", "read-back")["sightings"] == 0
    asyncio.run(lose_facts(stack))
    give_up_at = time.monotonic() + PATIENCE_S
    while not command.json("identity", "match", "read-back")["sightings"]:
        assert time.monotonic() < give_up_at, "profile's log has the event by now"


async def lose_facts(stack: Stack) -> None:
    admin = await asyncpg.connect(stack.admin_url.rsplit("/", 1)[0] + "/c360")
    await admin.execute("DELETE FROM identity.sightings")
    await admin.close()
