"""Tracking plans through the real path: published, enforced, counted, corrected, replayed in place and time."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2 as consent
from c360.ingest.v1 import ingest_pb2 as ingest
from c360.ingest.v1 import plan_pb2 as pb
from c360.ingest.v1 import plan_pb2_grpc, source_pb2, source_pb2_grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from services.ingest.backlog import Backlog, Limits
from services.ingest.domain.plan import Finding
from services.ingest.memory import Memory
from services.ingest.publisher import Publisher
from services.ingest.quarantine import Limits as QuarantineLimits
from services.ingest.quarantine import Quarantine, Quarantined
from services.ingest.receipts import Receipts
from services.ingest.replaying import Replaying
from services.ingest.views import Sources
from services.stack.stack import Stack
from shared import bus
from shared.errors import LimitExceeded
from shared.events.wire import RawEvent
from shared.ids import id_maker
from shared.instants import now_us
from shared.rpc.errors import reason_of
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from tests.e2e.client import Platform, by_identifier, timestamp
from tests.live.command import Command

NOW = datetime.now(UTC)
QUARANTINED, REJECTED, ACCEPTED = (
    ingest.EVENT_STATUS_QUARANTINED,
    ingest.EVENT_STATUS_REJECTED,
    ingest.EVENT_STATUS_ACCEPTED,
)
ORDER = {
    "properties": {"total": {"type": "number", "minimum": 0}, "order_id": {"type": "string"}},
    "required": ["order_id"],
}
INDUSTRY = {
    "from": ["Industry", "Business type", "Sector"],
    "as": "enumeration",
    "values": {"retail": ["Retail trade", "Shops"], "software": ["IT"]},
}


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


@pytest.fixture(scope="module")
def plans(stack: Stack) -> Iterator[Any]:
    with grpc.insecure_channel(stack.endpoints.ingest) as channel:
        yield plan_pb2_grpc.PlanServiceStub(channel)


@pytest.fixture
def source() -> str:
    return f"crm-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def write_key(platform: Platform, source: str) -> str:
    return platform.register_source(source)


@pytest.fixture
def person() -> str:
    return f"person-{uuid.uuid4().hex[:12]}"


def publish(plans: Any, source: str, **document: Any) -> int:
    request = pb.PublishPlanRequest(request_id=str(uuid.uuid4()), source=source, document=json.dumps(document))
    return int(plans.PublishPlan(request, timeout=10).version)


def replay(plans: Any, source: str) -> pb.ReplayQuarantinedResponse:
    answer: pb.ReplayQuarantinedResponse = plans.ReplayQuarantined(pb.ReplayQuarantinedRequest(source=source), timeout=30)
    return answer


def waiting(plans: Any, source: str) -> int:
    return int(plans.ListQuarantined(pb.ListQuarantinedRequest(source=source), timeout=10).total)


def identify(user_id: str, at: datetime, **traits: Any) -> ingest.Event:
    values = Struct()
    values.update(traits)
    return ingest.Event(
        type=ingest.EVENT_TYPE_IDENTIFY, user_id=user_id, traits=values, original_time=timestamp(at), message_id=str(uuid.uuid4())
    )


def track(user_id: str, name: str, **properties: Any) -> ingest.Event:
    values = Struct()
    values.update(properties)
    return ingest.Event(type=ingest.EVENT_TYPE_TRACK, user_id=user_id, name=name, properties=values, message_id=str(uuid.uuid4()))


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def traits(platform: Platform, person: str, position: Any = None) -> dict[str, Any]:
    profile = platform.get_profile(by_identifier("user_id", person), "audit", *([position] if position else []))
    return {name: getattr(trait.value, trait.value.WhichOneof("kind") or "") for name, trait in profile.traits.items()}


def test_one_vocabulary_whatever_a_source_calls_it(
    platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    fields = {
        "industry": INDUSTRY,
        "country": {"from": ["Land"], "as": "country"},
        "since": {"as": "date", "formats": ["%d.%m.%Y"]},
    }
    publish(plans, source, standardisation={"match": "loose", "languages": ["en", "de"], "traits": fields})
    sent = [
        {"Industry": "Shops"},
        {"business_type": "retail trade"},
        {"SECTOR": "Retail", "land": "Deutschland", "since": "3.3.2020"},
    ]
    events = [identify(person, ago(30 - number), **given) for number, given in enumerate(sent)]
    position = platform.record(write_key, *events).position
    assert traits(platform, person, position) == {"industry": "retail", "country": "DE", "since": "2020-03-03"}
    latest = platform.get_timeline(by_identifier("user_id", person), "audit", kinds=("identified",))[0]
    sent_as = MessageToDict(latest.sent_as)
    assert (sent_as["industry"], sent_as["country"]["value"]) == ({"field": "SECTOR", "value": "Retail"}, "Deutschland")


def test_a_rule_flags_quarantines_or_blocks(platform: Platform, plans: Any, source: str, write_key: str, person: str) -> None:
    rules = {"schema_violation": "quarantine", "unplanned_event": "block", "unplanned_property": "flag"}
    publish(plans, source, events={"Order Completed": {"properties": ORDER}}, rules=rules)
    results = platform.record(
        write_key,
        track(person, "Order Completed", order_id="o-1", total=5, colour="red"),
        track(person, "Order Completed", total=-1),
        track(person, "Cart Opened"),
    )
    assert [(result.status, result.reason) for result in results.results] == [
        (ACCEPTED, ""),
        (QUARANTINED, "PLAN_SCHEMA_VIOLATION"),
        (REJECTED, "PLAN_UNPLANNED_EVENT"),
    ]
    [entry] = platform.get_timeline(by_identifier("user_id", person), "audit", results.position, kinds=("tracked",))
    assert list(entry.flags) == ["PLAN_UNPLANNED_PROPERTY"]
    counted = plans.ListViolations(pb.ListViolationsRequest(source=source), timeout=10).violations
    assert {(v.plan_version, v.rule, v.place, v.action, v.events) for v in counted} == {
        (1, "SCHEMA_VIOLATION", "Order Completed/required", "quarantine", 1),
        (1, "SCHEMA_VIOLATION", "Order Completed/properties/total/minimum", "quarantine", 1),
        (1, "UNPLANNED_EVENT", "", "block", 1),
        (1, "UNPLANNED_PROPERTY", "Order Completed", "flag", 1),
    }


def test_what_was_held_lands_as_if_it_had_never_been(
    platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    """Its own time decides; and at equal times the order in which they were received, not in which they were published."""
    at = ago(20)
    publish(
        plans, source, traits={"identify": {"properties": {"age": {"type": "integer"}}}}, rules={"schema_violation": "quarantine"}
    )
    answer = platform.record(
        write_key,
        identify(person, ago(40), city="Hull"),
        identify(person, at, city="Bremen", age="41"),
        identify(person, at, tier="gold"),
        identify(person, ago(10), tier="silver"),
        identify(person, at, tier="bronze", age="41"),
    )
    assert [result.status for result in answer.results] == [ACCEPTED, QUARANTINED, ACCEPTED, ACCEPTED, QUARANTINED]
    assert traits(platform, person, answer.position) == {"city": "Hull", "tier": "silver"}
    publish(plans, source, standardisation={"traits": {"age": {"as": "integer"}}}, rules={"schema_violation": "quarantine"})
    replayed = replay(plans, source)
    assert (replayed.tally.accepted, waiting(plans, source)) == (2, 0)
    assert traits(platform, person, replayed.position) == {"city": "Bremen", "tier": "silver", "age": 41}
    timeline = platform.get_timeline(by_identifier("user_id", person), "audit", kinds=("identified",))
    assert [entry.occur_time.ToDatetime(tzinfo=UTC) for entry in timeline] == [ago(10), at, at, at, ago(40)]


def test_at_equal_times_the_order_of_receipt_decides_whatever_waited_in_between(
    platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    """Not the order of publishing: an event that was held comes last and still loses against what was received after it."""
    at = ago(20)
    publish(
        plans, source, traits={"identify": {"properties": {"age": {"type": "integer"}}}}, rules={"schema_violation": "quarantine"}
    )
    held_first = identify(person, at, city="Bremen", tier="gold", age="41")
    held_last = identify(person, at, tier="silver", age="41")
    platform.record(write_key, held_first, identify(person, at, city="Hull", tier="bronze"), held_last)
    publish(plans, source)
    assert traits(platform, person, replay(plans, source).position) == {"city": "Hull", "tier": "silver", "age": "41"}


def test_what_still_breaks_a_rule_stays(platform: Platform, plans: Any, source: str, write_key: str, person: str) -> None:
    rules = {"unplanned_event": "quarantine"}
    publish(plans, source, events={}, rules=rules)
    platform.record(write_key, track(person, "Order Completed"), track(person, "Cart Opened"))
    publish(plans, source, events={"Order Completed": {}}, rules=rules)
    assert (replay(plans, source).tally.accepted, waiting(plans, source)) == (1, 1)
    assert (replay(plans, source).tally.quarantined, waiting(plans, source)) == (1, 1)


def test_an_event_that_is_sent_again_waits_once(platform: Platform, plans: Any, source: str, write_key: str, person: str) -> None:
    publish(plans, source, events={}, rules={"unplanned_event": "quarantine"})
    event = track(person, "Order Completed")
    platform.record(write_key, event, event)
    platform.record(write_key, event)
    assert waiting(plans, source) == 1


class Forgetful(Quarantine):
    """Dies between publishing and removing."""

    async def remove(self, event_ids: Any) -> set[bytes]:
        raise ConnectionResetError


async def test_a_crash_between_publishing_and_removing_doubles_nothing(
    stack: Stack, platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    publish(plans, source, events={}, rules={"unplanned_event": "quarantine"})
    platform.record(write_key, track(person, "Order Completed"))
    publish(plans, source)
    settings = stack.environment_of("ingest")
    pool = await open_pool(settings["C360_DATABASE_URL"], "ingest")
    vault_pool = await open_pool(settings["C360_VAULT_URL"], "vault")
    vault = Vault(vault_pool, FileKeyring(Path(settings["C360_KEYRING_FILE"])))
    client = await bus.connect(stack.broker_url, "test")
    publisher = Publisher(client, vault, now_us, id_maker(now_us))
    memory = Memory(Backlog(Limits(), now_us), Receipts(pool), publisher.publish, lambda: 0.0)
    try:
        with pytest.raises(ConnectionResetError):
            await Replaying(Sources(pool, lambda: 0.0), Forgetful(pool, vault, now_us), memory).replay(source)
    finally:
        await client.close()
        await pool.close()
        await vault_pool.close()
    assert waiting(plans, source) == 1
    replayed = replay(plans, source)
    assert replayed.tally.accepted <= 1, "none when this process has its receipt already"
    assert waiting(plans, source) == 0
    timeline = platform.get_timeline(by_identifier("user_id", person), "audit", replayed.position, kinds=("tracked",))
    assert len(timeline) == 1


def test_a_plan_is_checked_against_what_waits_and_writes_nothing(
    stack: Stack, platform: Platform, plans: Any, source: str, write_key: str, person: str, tmp_path: Path
) -> None:
    command = Command(Path(stack.data_directory))
    old, new, samples = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "samples.jsonl"
    rules = {"unplanned_event": "quarantine", "schema_violation": "block"}
    old.write_text(json.dumps({"events": {}, "rules": rules}))
    new.write_text(json.dumps({"events": {"Order Completed": {"properties": ORDER}}, "rules": rules}))
    assert command.json("plans", "publish", source, str(old))["version"] == 1
    platform.record(write_key, track(person, "Order Completed", order_id="o"), track(person, "Cart Opened"))
    calls = [{"type": "track", "event": "Order Completed", "userId": "u"}, {"type": "track", "userId": "u"}]
    samples.write_text("\n".join(json.dumps(call) for call in calls))
    answer = command.json("plans", "check", source, str(new), "--events", str(samples))
    assert (answer["quarantine"]["accepted"], answer["quarantine"]["quarantined"]) == (1, 1)
    assert answer["events"]["rules"] == {"EVENT_NAME_MISSING": 1, "SCHEMA_VIOLATION": 1}
    assert (waiting(plans, source), len(command.json("plans", "list", source))) == (2, 1)
    assert answer["checked"] == []
    detailed = command.json("plans", "check", source, str(new), "--events", str(samples), "--details")["checked"]
    assert [(event["line"], event["status"], event["reason"]) for event in detailed] == [
        (1, "rejected", ""),
        (2, "rejected", "EVENT_NAME_MISSING"),
    ]
    breach = {"rule": "SCHEMA_VIOLATION", "action": "block", "place": "Order Completed/required", "pointer": "/properties/order_id"}
    assert detailed[0]["breaches"] == [breach]
    assert "/properties/order_id" in command.run("plans", "check", str(new), "--events", str(samples), "--details").stdout
    command.run("plans", "check", source, str(new))
    samples.write_text("{")
    assert command.run("plans", "check", str(samples), code=1).stderr.startswith("PLAN_INVALID: ")
    assert json.loads(command.run("plans", "show", source).stdout)["rules"] == rules
    assert command.json("plans", "publish", source, str(new), "--after", "1")["version"] == 2
    assert "PLAN_VERSION_DIFFERS" in command.run("plans", "publish", source, str(new), "--after", "1", code=1).stderr
    assert "went on" in command.run("plans", "replay", source, code=1).stdout
    assert [row["rules"] for row in command.json("plans", "quarantine", source)["events"]] == [["UNPLANNED_EVENT"]]
    assert "UNPLANNED_EVENT" in command.run("plans", "violations", source).stdout


def test_what_waits_says_what_is_to_be_corrected_and_nothing_else(
    stack: Stack, platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    rules = {"unplanned_event": "quarantine", "schema_violation": "quarantine", "unplanned_property": "quarantine"}
    publish(plans, source, events={"Order Completed": {"properties": ORDER}}, rules=rules)
    events = [track(person, "Cart Opened"), track(person, "Order Completed", total=-4711, colour="canary"), track(person, "Left")]
    platform.record(write_key, *events)
    publish(plans, source, events={"Order Completed": {"properties": ORDER}, "Left": {}}, rules=rules)
    command = Command(Path(stack.data_directory))
    first = command.json("plans", "quarantine", source, "--limit", "2")
    rest = command.json("plans", "quarantine", source, "--limit", "2", "--after", first["next_page_token"])
    found = [*first["events"], *rest["events"]]
    assert (first["total"], rest["next_page_token"]) == (3, "")
    assert [(event["message_id"], event["source"], event["plan_version"]) for event in found] == [
        (event.message_id, source, 1) for event in events
    ]
    assert [event["name"] for event in found] == ["Cart Opened", "Order Completed", "Left"]
    assert [{(each["rule"], each["pointer"]) for each in event["breaches"]} for event in found] == [
        {("UNPLANNED_EVENT", "/event")},
        {
            ("SCHEMA_VIOLATION", "/properties/order_id"),
            ("SCHEMA_VIOLATION", "/properties/total"),
            ("UNPLANNED_PROPERTY", "/properties/colour"),
        },
        set(),
    ]
    shown = command.run("plans", "quarantine", source).stdout
    assert "no more: replay it" in shown
    for hidden in ("4711", "canary", person):
        assert hidden not in shown + json.dumps(found)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (
            '{"events": {"A": {"properties": {"properties": {"x": {"type": "sring"}}}}}}',
            "$.events['A'].properties['properties']['x']",
        ),
        ('{"rules": {"unplanned_event": "drop"}}', "$.rules.unplanned_event"),
        ('{"event": {}}', "`event`"),
        ('{"standardisation": {"traits": {"a": {"from": ["x"]}, "b": {"from": ["x"]}}}}', "$.standardisation.traits['b']"),
        ('{"standardisation": {"traits": {"a": {"as": "date", "formats": ["%H"]}}}}', "formats[0]"),
        ('{"traits": {"identify": {"$ref": "https://example.com/x"}}}', "$.traits.identify"),
        ("{", "not JSON"),
    ],
)
def test_a_broken_plan_is_refused_and_the_place_named(plans: Any, source: str, write_key: str, document: str, place: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        plans.PublishPlan(pb.PublishPlanRequest(request_id="r", source=source, document=document), timeout=10)
    assert reason_of(refused.value) == "PLAN_INVALID"
    assert place in str(refused.value.details())


def test_a_phone_number_gets_the_country_of_its_source(
    stack: Stack, platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    with grpc.insecure_channel(stack.endpoints.ingest) as channel:
        request = source_pb2.ChangeSettingsRequest(request_id="r", source=source, region="DE")
        source_pb2_grpc.SourceServiceStub(channel).ChangeSettings(request, timeout=10)
    own = f"{uuid.uuid4().int % 10**8:08}"  # of two people it would be nobody's
    position = platform.record(write_key, identify(person, ago(2), phone=f"030 {own}")).position
    assert traits(platform, person, position) == {"phone": f"030 {own}"}
    named = platform.resolve("user_id", person, position).customer_id
    assert platform.resolve("phone", f"+4930{own}", position).customer_id == named
    publish(plans, source, standardisation={"traits": {"phone": {"from": ["Tel"], "as": "phone"}}})
    position = platform.record(write_key, identify(person, ago(1), Tel=f"030 {own}")).position
    assert traits(platform, person, position) == {"phone": f"+4930{own}"}


def test_an_address_that_was_confirmed_is_served_as_verified(platform: Platform, write_key: str, person: str) -> None:
    """Only that very address, and also for purposes that need no consent."""
    email = f"{person}@example.com"
    position = platform.record(write_key, identify(person, ago(5), email=email.upper())).position
    assert not platform.get_profile(by_identifier("user_id", person), "service", position).traits["email"].verified
    request = consent.RecordDecisionRequest(
        request_id=str(uuid.uuid4()),
        identifier=Identifier(namespace="email", value=email),
        purpose="marketing",
        outcome=consent.OUTCOME_GRANTED,
        confirmed=True,
    )
    decided = platform.consent.RecordDecision(request, timeout=20).position
    assert platform.get_profile(by_identifier("user_id", person), "service", decided).traits["email"].verified
    past = platform.get_profile(by_identifier("user_id", person), "audit", valid_at=ago(1))
    assert not past.traits["email"].verified, "it was not confirmed then"
    position = platform.record(write_key, identify(person, ago(1), email=f"new-{email}")).position
    assert not platform.get_profile(by_identifier("user_id", person), "service", position).traits["email"].verified


def test_an_erasure_finds_what_waits(
    stack: Stack, platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    """And an event of somebody else that waits beside it is still there, and can still be read."""
    publish(plans, source, events={}, rules={"unplanned_event": "quarantine"})
    other = f"other-{person}"
    position = platform.record(
        write_key, identify(person, ago(1)), track(person, "Order Completed"), track(other, "Order Completed")
    ).position
    platform.get_profile(by_identifier("user_id", person), "audit", position)
    Command(Path(stack.data_directory)).run("customer", "erase", f"user_id:{person}", "--reason", "Art. 17", "--yes")
    assert waiting(plans, source) == 1
    publish(plans, source)
    replayed = replay(plans, source)
    assert replayed.tally.accepted == 1
    assert len(platform.get_timeline(by_identifier("user_id", other), "audit", replayed.position, kinds=("tracked",))) == 1


def test_an_erasure_finds_whom_only_the_plan_knows(
    stack: Stack, platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    """Her address stands in a field that only standardisation reads as one."""
    email = f"{person}@example.com"
    publish(
        plans,
        source,
        traits={"identify": {"required": ["must"]}},
        rules={"schema_violation": "quarantine"},
        standardisation={"match": "loose", "traits": {"email": {"from": ["E-Mail"], "as": "email"}}},
    )
    held = identify("", ago(1), **{"E-Mail": email})
    held.anonymous_id = f"device-{person}"
    position = platform.record(write_key, held, identify(person, ago(1), email=email, must=1)).position
    platform.get_profile(by_identifier("user_id", person), "audit", position)
    assert waiting(plans, source) == 1
    Command(Path(stack.data_directory)).run("customer", "erase", f"email:{email}", "--reason", "Art. 17", "--yes")
    assert waiting(plans, source) == 0


def test_an_event_that_was_corrected_and_sent_again_does_not_wait_on(
    platform: Platform, plans: Any, source: str, write_key: str, person: str
) -> None:
    """A replay gives up what waits, and doesn't count it as taken; and what is sent again breaks nothing again."""
    rules = {"schema_violation": "quarantine", "unplanned_trait": "allow"}
    publish(plans, source, traits={"identify": {"required": ["must"]}}, rules=rules)
    held = identify(person, ago(2), city="Hull")
    corrected = identify(person, ago(2), city="Bremen", must=1)
    corrected.message_id = held.message_id
    for _ in range(3):
        platform.record(write_key, held)
    [counted] = plans.ListViolations(pb.ListViolationsRequest(source=source), timeout=10).violations
    assert counted.events == 1
    position = platform.record(write_key, corrected).position
    assert traits(platform, person, position)["city"] == "Bremen"
    assert (replay(plans, source).tally.quarantined, waiting(plans, source)) == (0, 0)


async def test_the_quarantine_has_a_bound(stack: Stack, plans: Any, source: str, write_key: str) -> None:
    settings = stack.environment_of("ingest")
    pool = await open_pool(settings["C360_DATABASE_URL"], "ingest")
    vault_pool = await open_pool(settings["C360_VAULT_URL"], "vault")
    vault = Vault(vault_pool, FileKeyring(Path(settings["C360_KEYRING_FILE"])))

    def event(number: int) -> Quarantined:
        found = RawEvent(
            kind="track", message_id=f"m{number}", source=source, user_id="u", name="e", occurred_at=1, received_at=now_us()
        )
        return Quarantined(found, b"x" * 10, 1, (Finding("UNPLANNED_EVENT", "quarantine"),))

    try:
        quarantine = Quarantine(pool, vault, now_us, QuarantineLimits(source_events=3))
        assert len((await quarantine.put([event(1), event(2)])).added) == 2
        assert len((await quarantine.put([event(2)])).added) == 0
        assert len((await quarantine.put([event(3)])).added) == 1
        with pytest.raises(LimitExceeded) as full:
            await quarantine.put([event(4)])
        assert full.value.reason == "QUARANTINE_FULL"
        await quarantine.remove([row.event_id for row in await quarantine.page(source, None, 2)])
        assert len((await quarantine.put([event(4)])).added) == 1
        with pytest.raises(LimitExceeded):
            await Quarantine(pool, vault, now_us, QuarantineLimits(source_bytes=20)).put([event(5)])
    finally:
        await pool.close()
        await vault_pool.close()
