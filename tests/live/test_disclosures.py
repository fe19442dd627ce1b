"""Who reads what is written down before it is answered, and can be asked for: by customer, and by the decision it rests on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import msgspec
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import disclosure_pb2
from c360.profile.v1 import profile_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from services.profile.domain.disclosure import Disclosure, Given, unpacked
from services.profile.tables.disclosures import DisclosureLog
from services.stack.stack import Stack
from shared.events.disclosures import DisclosuresRecorded, Terms
from shared.ids import id_maker, to_text
from shared.instants import from_timestamp, now_us
from shared.log.merkle import root_of_leaves
from shared.rpc.errors import reason_of
from shared.store.pool import open_pool
from tests.live.inside import Inside, erased, founded, identified, merged
from tests.live.test_ready import EMAIL, Shown
from tests.properties.people_read import overlay

PATIENCE_S = 30.0


@pytest_asyncio.fixture(loop_scope="session")
async def shown(servers: Stack) -> AsyncIterator[Shown]:
    shown = Shown(await Inside.open(servers))
    await shown.begin()
    yield shown
    await shown.inside.close()


async def who_read(shown: Shown, stream: bytes | None = None, **wanted: Any) -> list[disclosure_pb2.Disclosure]:
    """All pages, of two each."""
    found, token = list[disclosure_pb2.Disclosure](), ""
    while True:
        customer = CustomerRef(customer_id=to_text(stream or shown.stream))
        request = disclosure_pb2.WhoReadRequest(customer=customer, page_size=2, page_token=token, **wanted)
        page = await shown.inside.disclosed.WhoRead(request)
        found += page.disclosures
        if not (token := page.next_page_token):
            return found


async def read(shown: Shown, caller: str = "shop", purpose: str = "news", **more: Any) -> str:
    """Empty, or the reason why not."""
    request = pb.GetProfileRequest(customer=CustomerRef(customer_id=to_text(shown.stream)), purpose=purpose, **more)
    try:
        await shown.inside.calls.GetProfile(request, metadata=(("x-c360-caller", caller), ("x-request-id", f"r-{caller}")))
    except grpc.RpcError as error:
        return reason_of(error)
    return ""


async def test_every_read_is_told_latest_first_also_one_that_stood_ready(shown: Shown) -> None:
    for caller in ("a", "b", "c"):
        await read(shown, caller)
    found = await who_read(shown)
    assert [one.caller for one in found] == ["c", "b", "a"]
    for one in found:
        assert (one.call, one.purpose_version, one.legal_basis) == ("GetProfile", "news@1", "consent")
        assert (one.request_id, one.verdict) == (f"r-{one.caller}", disclosure_pb2.VERDICT_PERMIT)
        assert list(one.fields) == ["city"]
        assert list(one.member_ids) == [to_text(shown.stream)]
        assert one.positions[0].log == "profile"
    assert [one.caller for one in await who_read(shown, caller="b")] == ["b"]
    assert not await who_read(shown, purpose="service")
    assert len(await who_read(shown, field="city")) == 3
    assert not await who_read(shown, field="phone")
    assert len(await who_read(shown, since_time=found[1].read_time)) == 2
    assert len(await who_read(shown, until_time=found[1].read_time)) == 1


async def test_many_reads_at_once_are_all_there(shown: Shown) -> None:
    await asyncio.gather(*(read(shown, f"caller-{number}") for number in range(200)))
    assert {one.caller for one in await who_read(shown)} == {f"caller-{number}" for number in range(200)}


async def test_after_its_session_was_ended_what_is_read_is_written_down_in_another(shown: Shown, servers: Stack) -> None:
    assert await read(shown, "before") == ""
    admin = await asyncpg.connect(servers.admin_url)
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'c360 disclosures'")
    await admin.close()
    async with asyncio.timeout(PATIENCE_S):
        while told := await read(shown, "after"):
            assert told == "DISCLOSURE_NOT_RECORDED"
    assert [one.caller for one in await who_read(shown)][::-1] == ["before", "after"]


async def test_nodes_of_the_tree_are_kept_with_the_event_that_completes_them(shown: Shown, servers: Stack) -> None:
    terms = Terms("GetProfile", "news", 1, bytes(32), "consent", "permit")
    for number in range(2**8 + 1):
        await shown.inside.disclosures.log.write([Disclosure(Given(terms, (shown.stream,)), "shop", number)])
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    leaves = await admin.fetch("SELECT leaf FROM disclosures.events ORDER BY pos LIMIT 256")
    nodes = await admin.fetch("SELECT height, number, hash FROM disclosures.merkle_nodes")
    await admin.close()
    assert [tuple(node) for node in nodes] == [(8, 0, root_of_leaves(row["leaf"] for row in leaves))]


async def test_several_processes_write_the_log_at_once_and_nothing_is_lost_or_refused(shown: Shown, servers: Stack) -> None:
    """As many as a node of the tree has, and some more; none of them waits for another one's lease."""
    terms, pool = (
        Terms("GetProfile", "news", 1, bytes(32), "consent", "permit"),
        await open_pool(disclosures_of(servers), "disclosures"),
    )
    logs = [
        shown.inside.disclosures.log,
        DisclosureLog(pool, now_us, id_maker(now_us)),
        DisclosureLog(pool, now_us, id_maker(now_us)),
    ]

    async def write(number: int, log: DisclosureLog) -> None:
        for read in range(90):
            await log.write([Disclosure(Given(terms, (shown.stream,)), f"{number}/{read}", read)])

    await asyncio.gather(*(write(number, log) for number, log in enumerate(logs)))
    assert {one.caller for one in await who_read(shown)} == {f"{number}/{read}" for number in range(3) for read in range(90)}
    rows = await pool.fetch("SELECT pos, version, leaf, recorded_at FROM events ORDER BY pos")
    assert [(row["pos"], row["version"]) for row in rows] == [(number, number + 1) for number in range(270)]
    assert len({row["recorded_at"] for row in rows}) == 270
    [node] = await pool.fetch("SELECT hash FROM merkle_nodes")
    assert node["hash"] == root_of_leaves(row["leaf"] for row in rows[:256])
    await asyncio.gather(*(log.close() for log in logs))
    await pool.close()


def disclosures_of(servers: Stack) -> str:
    return servers.environment_of("profile")["C360_DATABASE_URL"]


async def test_a_refusal_is_told_with_its_reason_and_what_it_rests_on(shown: Shown) -> None:
    await read(shown, "before")
    await shown.decide("withdrawn")
    assert await read(shown, "after") == "CONSENT_WITHDRAWN"
    shown.inside.parts.lease._until = 0.0
    assert await read(shown, "unsure") == "CONSENT_NOT_CONFIRMED"
    gap, deny, permit = await who_read(shown)
    assert (gap.verdict, deny.verdict) == (disclosure_pb2.VERDICT_GAP, disclosure_pb2.VERDICT_DENY)
    assert (deny.reason, list(deny.fields)) == ("CONSENT_WITHDRAWN", [])
    [granted], [withdrawn] = permit.decision_ids, deny.decision_ids
    assert granted != withdrawn
    uses = await shown.inside.disclosed.ListUses(disclosure_pb2.ListUsesRequest(decision_id=granted))
    assert [one.caller for one in uses.disclosures] == ["before"]


async def test_what_was_withheld_is_told_by_reason_and_the_answer_says_it_is_not_all(shown: Shown) -> None:
    await shown.purpose(2, "email")
    request = pb.GetProfileRequest(customer=CustomerRef(customer_id=to_text(shown.stream)), purpose="news")
    for _ in range(2):  # the second one stands ready
        assert (await shown.inside.calls.GetProfile(request)).verdict == disclosure_pb2.VERDICT_PARTIAL
    for one in await who_read(shown):
        assert (one.verdict, list(one.fields)) == (disclosure_pb2.VERDICT_PARTIAL, [])
        assert [(found.reason, list(found.fields)) for found in one.withheld] == [("NOT_IN_PURPOSE", ["city"])]


async def test_reads_of_whoever_is_one_with_her_are_hers_and_stay_when_she_is_erased(shown: Shown) -> None:
    await read(shown, "before")
    other = shown.other
    await shown.inside.record([founded(other, 2), identified(other, shown.keys[other], 3, city="Hull")])
    await shown.inside.record(merged(shown.stream, other, 2))
    await read(shown, "as-one")
    assert [one.caller for one in await who_read(shown, other)] == ["as-one", "before"]
    await shown.inside.record([erased(shown.stream)])
    assert await read(shown, "too-late") == "CUSTOMER_ERASED"
    assert [one.caller for one in await who_read(shown)] == ["too-late", "as-one", "before"]


async def test_other_calls_about_one_are_told_too(shown: Shown) -> None:
    named: dict[str, Any] = {"customer": CustomerRef(customer_id=to_text(shown.stream)), "purpose": "news"}
    await shown.inside.calls.LookupCustomer(pb.LookupCustomerRequest(**named))
    await shown.inside.calls.ListIdentifiers(pb.ListIdentifiersRequest(**named))
    await shown.inside.calls.ListMembers(pb.ListMembersRequest(**named))
    await shown.inside.calls.GetTimeline(pb.GetTimelineRequest(**named))
    found = [(one.call, list(one.fields)) for one in reversed(await who_read(shown))]
    assert found == [
        ("LookupCustomer", ["customer_id"]),
        ("ListIdentifiers", []),
        ("ListMembers", ["customer_id"]),
        ("GetTimeline", ["event:city", "event:email", "events"]),
    ]


async def test_what_can_not_be_written_down_is_not_answered(shown: Shown) -> None:
    assert await read(shown, "ready next time") == ""
    pool = shown.inside.disclosures.log._pool
    owner = await pool.fetchval("SELECT owner_epoch FROM partition_heads")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM partition_heads FOR UPDATE")
        reading = asyncio.create_task(read(shown, "waits"))
        done, _ = await asyncio.wait([reading], timeout=0.3)
        assert not done, "nothing is answered before it is written"
    assert await reading == ""
    assert await pool.fetchval("SELECT owner_epoch FROM partition_heads") == owner
    assert len(await who_read(shown)) == 2


async def test_another_process_that_writes_too_loses_nothing(shown: Shown) -> None:
    await read(shown, "a")
    await shown.inside.disclosures.log._pool.execute("UPDATE partition_heads SET owner_epoch = owner_epoch + 1")
    assert await read(shown, "b") == ""
    assert [one.caller for one in await who_read(shown)] == ["b", "a"]


async def test_nothing_of_a_value_is_in_the_log(shown: Shown) -> None:
    await shown.inside.record([identified(shown.stream, shown.keys[shown.stream], 5, **{"ann@example.com": "canary"})])
    await read(shown)
    row = await shown.inside.disclosures.log.at(0)
    assert row is not None
    event: DisclosuresRecorded = row.entry.public()
    assert event.terms[0].fields == ("*", "city")
    assert b"ann@" not in row.entry.header
    assert b"canary" not in row.entry.header


async def test_of_several_each_has_a_record_of_its_own_with_what_it_rests_on(shown: Shown) -> None:
    await shown.inside.record([founded(shown.other, 2), identified(shown.other, shown.keys[shown.other], 3, city="Hull")])
    queries = [pb.ProfileQuery(customer=CustomerRef(customer_id=to_text(one))) for one in (shown.stream, shown.other, b"x" * 16)]
    await shown.inside.calls.BatchGetProfiles(pb.BatchGetProfilesRequest(queries=queries, purpose="news"))
    [permitted], [refused] = await who_read(shown), await who_read(shown, shown.other)
    assert (permitted.call, list(permitted.fields), len(permitted.decision_ids)) == ("BatchGetProfiles", ["city"], 1)
    assert (refused.verdict, refused.reason, len(refused.decision_ids)) == (disclosure_pb2.VERDICT_DENY, "CONSENT_MISSING", 0)


async def test_what_a_watcher_is_sent_is_told_and_nothing_else(shown: Shown) -> None:
    request = pb.WatchProfileRequest(customer=CustomerRef(customer_id=to_text(shown.stream)), purpose="news")
    watch = shown.inside.calls.WatchProfile(request)
    assert (await watch.read()).profile.traits["city"].value.string_value == "Kiel"
    await shown.inside.record([identified(shown.stream, shown.keys[shown.stream], 2, city="Bremen")])
    assert (await watch.read()).profile.traits["city"].value.string_value == "Bremen"
    await shown.decide("withdrawn")
    with pytest.raises(grpc.RpcError) as refused:
        await watch.read()
    assert reason_of(refused.value) == "CONSENT_WITHDRAWN"
    found = await who_read(shown)
    assert [(one.call, one.verdict, len(one.decision_ids)) for one in found] == [
        ("WatchProfile", disclosure_pb2.VERDICT_DENY, 1),
        ("WatchProfile", disclosure_pb2.VERDICT_PERMIT, 1),
        ("WatchProfile", disclosure_pb2.VERDICT_PERMIT, 1),
    ]


async def rederived(shown: Shown, found: disclosure_pb2.Disclosure) -> tuple[bool, list[str]]:
    request = disclosure_pb2.RederiveDisclosureRequest(disclosure_id=found.disclosure_id)
    answer = await shown.inside.disclosed.RederiveDisclosure(request)
    assert answer.disclosure == found
    return answer.agrees, list(answer.fields)


async def test_every_answer_can_be_made_again_whatever_came_after(shown: Shown) -> None:
    await read(shown, "first")
    await read(shown, "masked", read_mask=FieldMask(paths=["customer_id", "traits.city"]))
    await shown.inside.record([identified(shown.stream, shown.keys[shown.stream], 2, city="Bremen", email=EMAIL)])
    await read(shown, "second")
    await shown.inside.record([founded(shown.other, 2), identified(shown.other, shown.keys[shown.other], 3, city="Hull")])
    await shown.inside.record(merged(shown.stream, shown.other, 2))
    await shown.decide("granted", confirmed=True)
    await read(shown, "third")
    await shown.purpose(2, "email")
    await read(shown, "fourth")
    await shown.decide("withdrawn")
    await shown.inside.record([identified(shown.stream, shown.keys[shown.stream], 4, city="Rome")])
    fields = {"first": ["city"], "masked": ["city"], "second": ["city", "email"], "third": ["city", "email"], "fourth": ["email"]}
    found = await who_read(shown)
    assert {one.caller for one in found} == fields.keys()
    for one in found:
        assert await rederived(shown, one) == (True, fields[one.caller]), one.caller


async def test_a_refusal_follows_again_whatever_came_after(shown: Shown) -> None:
    await shown.decide("withdrawn")
    assert await read(shown, "withdrew") == "CONSENT_WITHDRAWN"
    await shown.decide("granted")
    await shown.inside.record([founded(shown.other, 2), identified(shown.other, shown.keys[shown.other], 3, city="Hull")])
    await shown.inside.record(merged(shown.stream, shown.other, 2))
    await shown._tell(overlay(shown.hash, now_us()))
    assert await read(shown, "restricted") == "RESTRICTED"
    shown.inside.parts.lease._until = 0.0
    assert await read(shown, "unsure") == "CONSENT_NOT_CONFIRMED"
    shown.inside.parts.lease._until = float("inf")
    await shown.purpose(2, "email")
    await shown.inside.record([erased(shown.stream)])
    assert await read(shown, "erased") == "CUSTOMER_ERASED"
    reasons = {
        "withdrew": "CONSENT_WITHDRAWN",
        "restricted": "RESTRICTED",
        "unsure": "CONSENT_NOT_CONFIRMED",
        "erased": "CUSTOMER_ERASED",
    }
    found = await who_read(shown)
    assert {one.caller: one.reason for one in found} == reasons
    for one in found:
        answer = await shown.inside.disclosed.RederiveDisclosure(
            disclosure_pb2.RederiveDisclosureRequest(disclosure_id=one.disclosure_id)
        )
        assert (answer.agrees, answer.reason, list(answer.fields)) == (True, one.reason, []), one.caller


async def test_a_refusal_that_does_not_follow_is_told_to_differ(shown: Shown) -> None:
    """As if somebody had been refused who permitted it, and the other way round."""
    await read(shown, "permitted")
    record = await shown.inside.disclosures.log.at(0)
    assert record is not None
    [given] = [one.given for one in unpacked(record.entry.public())]
    refusal = msgspec.structs.replace(given.terms, outcome="deny", reason="CONSENT_WITHDRAWN", fields=())
    await shown.decide("withdrawn")
    known = msgspec.structs.replace(given, consent_known=shown.decided)
    untrue = [
        Disclosure(Given(refusal, given.members, (), given.consent_known), "refused", now_us()),
        Disclosure(known, "shown", now_us()),
    ]
    await shown.inside.disclosures.log.write(untrue)
    shown_, refused = await who_read(shown, caller="shown"), await who_read(shown, caller="refused")
    told = []
    for [one] in (shown_, refused):
        request = disclosure_pb2.RederiveDisclosureRequest(disclosure_id=one.disclosure_id)
        answer = await shown.inside.disclosed.RederiveDisclosure(request)
        told.append((answer.agrees, answer.reason))
    assert told == [(False, "CONSENT_WITHDRAWN"), (False, "")]


async def test_of_who_was_erased_an_answer_can_not_be_made_again_and_it_is_said(shown: Shown) -> None:
    await read(shown)
    await shown.inside.vault.destroy([shown.stream], 1)
    shown.inside.parts.on_destroyed([shown.stream])
    [found] = await who_read(shown)
    answer = await shown.inside.disclosed.RederiveDisclosure(
        disclosure_pb2.RederiveDisclosureRequest(disclosure_id=found.disclosure_id)
    )
    assert (answer.agrees, answer.redacted_events > 0) == (False, True)


@pytest.mark.parametrize(
    ("disclosure_id", "reason"),
    [("x", "DISCLOSURE_ID_INVALID"), ("9.9", "DISCLOSURE_UNKNOWN"), ("0.9", "DISCLOSURE_UNKNOWN")],
)
async def test_what_can_not_be_made_again_is_refused_with_its_reason(shown: Shown, disclosure_id: str, reason: str) -> None:
    named: Any = {"customer": CustomerRef(customer_id=to_text(shown.stream)), "purpose": "news"}
    await shown.inside.calls.LookupCustomer(pb.LookupCustomerRequest(**named))
    with pytest.raises(grpc.RpcError) as refused:
        await shown.inside.disclosed.RederiveDisclosure(disclosure_pb2.RederiveDisclosureRequest(disclosure_id=disclosure_id))
    assert reason_of(refused.value) == reason


async def test_what_was_given_out_between_a_withdrawal_and_its_enforcement_is_told(shown: Shown) -> None:
    await read(shown, "before")
    withdrawn_at = now_us()
    await read(shown, "between")
    await shown.decide("withdrawn", decided_at=withdrawn_at)
    assert await read(shown, "refused") == "CONSENT_WITHDRAWN"
    await shown.decide("granted")
    await read(shown, "after")
    request = disclosure_pb2.ListExposuresRequest(customer=CustomerRef(customer_id=to_text(shown.stream)))
    [exposed] = (await shown.inside.disclosed.ListExposures(request)).exposures
    assert (exposed.disclosure.caller, exposed.outcome) == ("between", "withdrawn")
    assert from_timestamp(exposed.decide_time) == withdrawn_at < from_timestamp(exposed.disclosure.read_time)
    assert from_timestamp(exposed.record_time) > from_timestamp(exposed.disclosure.read_time)


async def test_a_read_after_a_restriction_that_was_not_known_yet_was_exposed_too(shown: Shown) -> None:
    restricted_at = now_us()
    await read(shown, "between")
    await shown._tell(msgspec.structs.replace(overlay(shown.hash, restricted_at), recorded_at=now_us()))
    assert await read(shown, "refused") == "RESTRICTED"
    request = disclosure_pb2.ListExposuresRequest(customer=CustomerRef(customer_id=to_text(shown.stream)))
    [exposed] = (await shown.inside.disclosed.ListExposures(request)).exposures
    assert (exposed.disclosure.caller, exposed.outcome) == ("between", "restricted")


async def test_without_a_customer_the_reads_of_everybody_are_told_by_caller_purpose_field_and_time(shown: Shown) -> None:
    await shown.inside.record([founded(shown.other, 2), identified(shown.other, shown.keys[shown.other], 3, city="Hull")])

    async def told(**wanted: Any) -> list[str]:
        found, token = list[str](), ""
        while True:
            request = disclosure_pb2.WhoReadRequest(page_size=2, page_token=token, **wanted)
            page = await shown.inside.disclosed.WhoRead(request)
            found += [one.caller for one in page.disclosures]
            if not (token := page.next_page_token):
                return found

    assert await told() == []
    for caller in ("a", "b", "c"):
        await read(shown, caller)
    query = pb.GetProfileRequest(customer=CustomerRef(customer_id=to_text(shown.other)), purpose="news")
    with pytest.raises(grpc.RpcError):
        await shown.inside.calls.GetProfile(query, metadata=(("x-c360-caller", "d"),))
    assert await told() == ["d", "c", "b", "a"]
    assert await told(caller="b") == ["b"]
    assert await told(field="city") == ["c", "b", "a"]
    assert await told(purpose="service") == []
    b = (await who_read(shown, caller="b"))[0].read_time
    assert await told(since_time=b) == ["d", "c", "b"]
    assert await told(until_time=b) == ["a"]


async def test_what_is_written_while_it_stops_keeps_nothing_from_stopping(servers: Stack) -> None:
    """The record of a caller who is gone may be written when all else has ended."""
    inside = await Inside.open(servers)
    log, terms = inside.disclosures.log, Terms("GetProfile", "news", 1, bytes(32), "contract", "permit")
    await log.write([Disclosure(Given(terms, (bytes(16),)), "shop", now_us())])
    await log.close()
    await log.write([Disclosure(Given(terms, (bytes(16),)), "shop", now_us())])
    pool = log._writer._pool
    assert pool.get_idle_size() == pool.get_size(), "a session that is kept keeps the pool from closing"
    await inside.close()
