"""Whom one may ask (again), told by consent's own service: of those who are named, and of everybody."""

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import asking_pb2 as asking
from c360.consent.v1 import consent_pb2 as pb
from c360.consent.v1 import restriction_pb2
from c360.consent.v1.asking_pb2_grpc import AskingServiceStub
from c360.consent.v1.registry_pb2 import LEGAL_BASIS_CONSENT, LEGAL_BASIS_CONTRACT, SCOPE_CONTACT_POINT
from c360.consent.v1.restriction_pb2_grpc import RestrictionServiceStub

from shared.events import customer as events
from shared.events.catalogue import make_entry
from shared.events.wire import CUSTOMER_STREAM
from shared.instants import DAY, now_us, to_timestamp
from tests.live.command import Command
from tests.live.consent_shop import DEADLINE_S, Shop, _bytes, an_email, merged, refusal, until

GRANTED, REFUSED, WITHDRAWN = pb.OUTCOME_GRANTED, pb.OUTCOME_REFUSED, pb.OUTCOME_WITHDRAWN
OBJECTED = pb.OUTCOME_OBJECTED


def ago(days: int) -> Any:
    return to_timestamp(now_us() - days * DAY)


async def a_purpose(shop: Shop, **more: Any) -> str:
    name = f"asked_{uuid4().hex}"
    given: dict[str, Any] = {"legal_basis": LEGAL_BASIS_CONSENT, "traits": ["email"], "ask_again_after_days": 30} | more
    await shop.define_purpose(name, **given)
    return name


async def checked(shop: Shop, purpose: str, *customers: CustomerRef, **more: Any) -> list[asking.AskableResult]:
    request = asking.CheckAskableRequest(purpose=purpose, customers=customers, **more)
    calls: Any = AskingServiceStub(shop.channel)
    return list((await calls.CheckAskable(request, timeout=DEADLINE_S)).results)


async def listed(shop: Shop, purpose: str, page_size: int = 500) -> dict[str, str]:
    """{hash of an identifier: why}, of all pages."""
    found: list[asking.Askable] = []
    token, calls = "", AskingServiceStub(shop.channel)
    while True:
        request = asking.ListAskableRequest(purpose=purpose, page_size=page_size, page_token=token)
        page: asking.ListAskableResponse = await calls.ListAskable(request, timeout=DEADLINE_S)
        assert len(page.askable) <= page_size
        found += page.askable
        if not (token := page.next_page_token):
            break
    assert all(one.may_be_asked for one in found)
    assert len({one.identifier_hash for one in found}) == len(found), "each is listed once"
    return {one.identifier_hash: one.reason for one in found}


async def test_each_is_told_whether_they_may_be_asked_why_and_from_when_on(shop: Shop) -> None:
    name = await a_purpose(shop)
    never, lately, long_ago, grants, restricted = (an_email() for _ in range(5))
    denied = await shop.decide(lately, name, REFUSED, decide_time=ago(3))
    await shop.decide(long_ago, name, WITHDRAWN, decide_time=ago(40))
    await shop.decide(grants, name, GRANTED)
    await shop.decide(restricted, name, REFUSED, decide_time=ago(40))
    request = restriction_pb2.RestrictProcessingRequest(
        request_id=str(uuid4()),
        identifier=restricted,
        grounds=[restriction_pb2.RESTRICTION_GROUND_LEGAL_CLAIMS],
        restricted_by="desk",
        reason="ticket",
    )
    calls: Any = RestrictionServiceStub(shop.channel)
    await calls.RestrictProcessing(request, timeout=DEADLINE_S)
    people = [never, lately, long_ago, grants, restricted]
    found = [one.askable[0] for one in await checked(shop, name, *(CustomerRef(identifier=it) for it in people))]
    assert [(one.may_be_asked, one.reason) for one in found] == [
        (True, "CONSENT_MISSING"),
        (False, "CONSENT_REFUSED"),
        (True, "CONSENT_WITHDRAWN"),
        (False, "CONSENT_GRANTED"),
        (False, "RESTRICTED"),
    ]
    assert [one.HasField("ask_time") for one in found] == [False, True, True, False, False]
    assert now_us() + 26 * DAY < found[1].ask_time.ToMicroseconds() < now_us() + 28 * DAY
    assert list(found[1].evidence) == [denied.position]
    everybody = await listed(shop, name)
    assert everybody[shop.hash_of(long_ago).hex()] == "CONSENT_WITHDRAWN"
    assert not {shop.hash_of(one).hex() for one in (lately, grants, restricted)} & everybody.keys()
    [unknown] = await checked(shop, name, CustomerRef(customer_id=str(uuid4())))
    assert unknown.refusal.reason == "CUSTOMER_UNKNOWN"


async def test_everybody_is_listed_once_by_person_or_by_address_as_the_purpose_is_decided_about(shop: Shop) -> None:
    by_person = await a_purpose(shop)
    by_address = await a_purpose(shop, scope=SCOPE_CONTACT_POINT, contact_points=["email"])
    by_law = await a_purpose(shop, legal_basis=LEGAL_BASIS_CONTRACT, ask_again_after_days=0)
    account, first, second, other = Identifier(namespace="user_id", value=uuid4().hex), an_email(), an_email(), an_email()
    customer, _ = await shop.founded(account, first)
    joined, _ = await shop.founded(second)
    fresh = await shop.publish(*merged(customer, joined))
    await shop.decide(first, by_address, WITHDRAWN)
    await shop.decide(other, by_address, REFUSED, decide_time=ago(40))
    [person] = await checked(shop, by_person, CustomerRef(customer_id=customer), at_least_as_fresh=[fresh])
    hashes = {shop.hash_of(it).hex() for it in (account, first, second)}
    assert [(one.identifier_hash, one.reason) for one in person.askable] == [(min(hashes), "CONSENT_MISSING")]
    [addresses] = await checked(shop, by_address, CustomerRef(identifier=account))
    told = {one.identifier_hash: (one.may_be_asked, one.reason, one.namespace) for one in addresses.askable}
    assert told == {
        shop.hash_of(first).hex(): (False, "CONSENT_WITHDRAWN", "email"),
        shop.hash_of(second).hex(): (True, "CONSENT_MISSING", "email"),
    }
    pages = [await listed(shop, by_person, size) for size in (1, 2, 500)]
    assert pages[0] == pages[1] == pages[2]
    assert hashes & pages[0].keys() == {min(hashes)}
    at_addresses = await listed(shop, by_address)
    assert hashes & at_addresses.keys() == {shop.hash_of(second).hex()}
    assert at_addresses[shop.hash_of(other).hex()] == "CONSENT_REFUSED", "also whose address is nobody's"
    assert await listed(shop, by_law) == {}


async def test_who_was_erased_is_not_asked_until_they_came_back(shop: Shop) -> None:
    name, anna = await a_purpose(shop), an_email()
    customer, _ = await shop.founded(anna)
    await shop.decide(anna, name, GRANTED)
    gone = events.CustomerErased(erasure_id=b"e" * 16, policy="start_clean", identifier_hashes=(shop.hash_of(anna),))
    erased = await shop.publish(make_entry(events.ERASED, _bytes(customer), os.urandom(16), now_us(), gone))
    [told] = await checked(shop, name, CustomerRef(identifier=anna), at_least_as_fresh=[erased])
    assert [(one.may_be_asked, one.reason) for one in told.askable] == [(False, "SUPPRESSED")]
    assert shop.hash_of(anna).hex() not in await listed(shop, name)
    [by_id] = await checked(shop, name, CustomerRef(customer_id=customer))
    assert by_id.refusal.reason == "CUSTOMER_ERASED"
    _, back = await shop.founded(anna)
    [told] = await checked(shop, name, CustomerRef(identifier=anna), at_least_as_fresh=[back])
    assert [(one.may_be_asked, one.reason) for one in told.askable] == [(True, "CONSENT_MISSING")]


async def test_the_command_lists_them(shop: Shop) -> None:
    name, run, anna = await a_purpose(shop), Command(shop.stack.data_directory).run, an_email()
    await shop.decide(anna, name, REFUSED, decide_time=ago(40))
    found = await asyncio.to_thread(run, "consent", "askable", name, "--limit", "100000", "--json")
    assert shop.hash_of(anna).hex() in {json.loads(line)["identifier_hash"] for line in found.stdout.splitlines()}
    one = await asyncio.to_thread(run, "consent", "askable", name, f"email:{anna.value}", str(uuid4()))
    assert "CONSENT_REFUSED" in one.stdout
    assert "CUSTOMER_UNKNOWN" in one.stdout


async def test_of_a_file_the_rows_of_those_who_may_be_asked_are_written_as_they_are(shop: Shop, tmp_path: Path) -> None:
    """Of more than are asked about at once, each as it is told alone."""
    name, run, others = await a_purpose(shop), Command(shop.stack.data_directory).run, tmp_path / "others.jsonl"
    fresh, rested, granted, objected = [an_email() for _ in range(4)]
    for it, outcome, days in ((rested, REFUSED, 40), (granted, GRANTED, 1), (objected, OBJECTED, 400)):
        await shop.decide(it, name, outcome, decide_time=ago(days))
    denied = [an_email() for _ in range(700)]
    await asyncio.gather(*(shop.decide(it, name, REFUSED, decide_time=ago(1)) for it in denied[:20]))
    rows = [fresh, *denied[20:], granted, rested, *denied[:20], objected]
    people, kept = tmp_path / "people.csv", tmp_path / "askable.csv"
    people.write_text("note,email\n" + "".join(f"{number},{it.value}\n" for number, it in enumerate(rows)) + "x,nobody\ny,\n")
    options = ("--file", str(people), "--by", "email", "-o", str(kept), "--excluded", str(others), "--json")
    found = json.loads((await asyncio.to_thread(run, "consent", "askable", name, *options)).stdout)
    told = {"CONSENT_REFUSED": 20, "CONSENT_GRANTED": 1, "OBJECTED": 1, "IDENTIFIER_INVALID": 1, "IDENTIFIER_MISSING": 1}
    assert found == {"may_be_asked": 682, "excluded": told}
    may = [f"{number},{it.value}" for number, it in enumerate(rows) if it in [fresh, rested, *denied[20:]]]
    assert kept.read_text().splitlines() == ["note,email", *may]
    reasons = [json.loads(line) for line in others.read_text().splitlines()]
    assert Counter(one["reason"] for one in reasons) == told
    assert {"row": len(rows), "line": len(rows) + 1, "reason": "OBJECTED"} in reasons
    done = await asyncio.to_thread(run, "consent", "askable", name, "email:ann@example.com", "--file", str(people), code=2)
    assert done.stderr.startswith("PEOPLE_AMBIGUOUS")


async def test_of_a_file_it_is_asked_once_what_the_caller_has_seen_is_known(shop: Shop, tmp_path: Path) -> None:
    """That two addresses are one person's, and by the other she objected."""
    name, run, people = await a_purpose(shop), Command(shop.stack.data_directory).run, tmp_path / "people.csv"
    anna, other = an_email(), an_email()
    await shop.decide(other, name, OBJECTED)
    people.write_text(f"email\n{anna.value}\n")
    next_position = (await shop.client.jetstream().stream_info(CUSTOMER_STREAM)).state.last_seq
    options = ("--file", str(people), "--by", "email", "-o", str(tmp_path / "askable.csv"), "--json")
    asked = asyncio.create_task(
        asyncio.to_thread(run, "consent", "askable", name, *options, "--fresh", f"customer/0/{next_position}")
    )
    await shop.founded(anna, other)
    assert json.loads((await asked).stdout) == {"may_be_asked": 0, "excluded": {"OBJECTED": 1}}
    done = await asyncio.to_thread(run, "consent", "askable", name, "--fresh", f"customer/0/{next_position}", code=2)
    assert done.stderr.startswith("FRESH_OF_NOBODY")


async def test_ctrl_c_ends_it_while_consent_is_asked_and_writes_nothing(shop: Shop, tmp_path: Path) -> None:
    people, kept = tmp_path / "people.csv", tmp_path / "askable.csv"
    people.write_text(f"email\n{an_email().value}\n")
    admin = await asyncpg.connect(shop.stack.admin_url.rsplit("/", 1)[0] + "/c360")
    waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'consent.links'::regclass"
    try:
        async with admin.transaction():
            await admin.execute("LOCK TABLE consent.links IN ACCESS EXCLUSIVE MODE")
            command = Command(shop.stack.data_directory).start
            with command("consent", "askable", "marketing", "--file", str(people), "--by", "email", "-o", str(kept)) as asking:
                await until(lambda: admin.fetchval(waiting))
                asking.send_signal(signal.SIGINT)
                await asyncio.to_thread(asking.wait)
    finally:
        await admin.close()
    assert asking.returncode == 130
    assert list(tmp_path.iterdir()) == [people]


async def test_what_it_refuses_is_said(shop: Shop) -> None:
    calls: Any = AskingServiceStub(shop.channel)
    assert await refusal(calls.ListAskable(asking.ListAskableRequest(purpose="nothing"))) == ("INVALID_ARGUMENT", "PURPOSE_UNKNOWN")
    assert (await refusal(checked(shop, "marketing")))[1] == "BATCH_EMPTY"
