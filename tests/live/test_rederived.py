"""Whether what a record says follows again from the logs: all of it, and as far as what it was made from is still there."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio
from c360.profile.v1 import disclosure_pb2 as pb

from services.profile.disclosed import Disclosed
from services.profile.domain.disclosure import unpacked
from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.catalogue import make_entry
from shared.ids import derived_id
from shared.instants import now_us
from shared.rpc.errors import reason_of
from tests.live.inside import Inside, founded, linked, merged, new_id
from tests.live.test_disclosures import read, who_read
from tests.live.test_ready import Shown
from tests.properties.people_read import overlay


@pytest_asyncio.fixture(loop_scope="session")
async def shown(servers: Stack) -> AsyncIterator[Shown]:
    shown = Shown(await Inside.open(servers))
    await shown.begin()
    yield shown
    await shown.inside.close()


async def again(shown: Shown, one: pb.Disclosure) -> pb.RederiveDisclosureResponse:
    request = pb.RederiveDisclosureRequest(disclosure_id=one.disclosure_id)
    answer: pb.RederiveDisclosureResponse = await shown.inside.disclosed.RederiveDisclosure(request)
    return answer


async def erase(shown: Shown) -> None:
    """With what she granted."""
    public = events.CustomerErased(erasure_id=b"", policy="start_clean", identifier_hashes=(shown.hash,))
    await shown.inside.record([make_entry(events.ERASED, shown.stream, new_id(), now_us(), public)])
    await shown.inside.vault.destroy([shown.stream], 1)
    shown.inside.parts.on_destroyed([shown.stream])


async def test_where_grants_are_gone_with_an_erasure_it_is_said_and_nothing_is_told_to_differ(shown: Shown) -> None:
    await read(shown, "permitted")
    await shown.decide("withdrawn")
    assert await read(shown, "withdrew") == "CONSENT_WITHDRAWN"
    await erase(shown)
    found = {one.caller: await again(shown, one) for one in await who_read(shown)}
    told = {caller: (one.agrees, one.reason, one.redacted_events > 0) for caller, one in found.items()}
    assert told == {"permitted": (False, "", True), "withdrew": (True, "CONSENT_WITHDRAWN", False)}


async def test_a_refusal_follows_from_what_was_known_of_who_is_one_and_not_from_the_clock(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the log had a merge already that the refusal didn't know of."""
    other, address = shown.other, "bob@example.com"
    await shown.inside.record([founded(other, 2), linked(other, shown.keys[other], address)])
    await shown._tell(overlay(derived_id(address.encode()), now_us()))
    await shown.decide("withdrawn")
    refuse = Disclosed.refuse

    async def meanwhile(*args: Any) -> None:
        await shown.inside.record(merged(shown.stream, other, 2))
        await refuse(*args)

    monkeypatch.setattr(Disclosed, "refuse", meanwhile)
    assert await read(shown, "before") == "CONSENT_WITHDRAWN"
    monkeypatch.setattr(Disclosed, "refuse", refuse)
    assert await read(shown, "after") == "RESTRICTED"
    for one in await who_read(shown):
        found = await again(shown, one)
        assert (found.agrees, found.reason) == (True, one.reason)
        assert one.positions


FALSE: dict[str, dict[str, Any]] = {
    "legal_basis": {"legal_basis": "contract"},
    "purpose_sha256": {"policy": bytes(32)},
    "withheld": {"withheld": (("NOT_IN_PURPOSE", ("plan",)),)},
    "verdict": {"outcome": "partial"},
    "decision_ids": {"evidence": (bytes(16),)},
    "positions": {"positions": ()},
    "fields": {"fields": ("email",)},
    "tag": {"tag": "x"},
}


async def differing(shown: Shown, **said: Any) -> list[str]:
    """What is told of a record of the first read, where it says that instead."""
    record = await shown.inside.disclosures.log.at(0)
    assert record is not None
    [found] = unpacked(record.entry.public())
    terms = {name: one for name, one in said.items() if hasattr(found.given.terms, name)}
    own = {name: one for name, one in said.items() if name not in terms}
    given = msgspec.structs.replace(found.given, terms=msgspec.structs.replace(found.given.terms, **terms), **own)
    await shown.inside.disclosures.log.write([msgspec.structs.replace(found, given=given, caller="forged")])
    [forged, *_] = await who_read(shown, caller="forged")
    answer = await again(shown, forged)
    assert answer.agrees == (not answer.differences)
    return list(answer.differences)


async def test_whatever_of_a_record_does_not_follow_is_told(shown: Shown) -> None:
    await read(shown)
    assert await differing(shown) == []
    for part, said in FALSE.items():
        assert part in await differing(shown, **said), part
    assert await differing(shown, evidence=()) == ["decision_ids"]
    assert await differing(shown, positions=((0, 0),)) != []


@pytest.mark.parametrize(
    "terms", [{}, {"outcome": "deny", "reason": "CONSENT_WITHDRAWN"}, {"outcome": "gap", "reason": "CUSTOMER_UNKNOWN"}]
)
async def test_a_read_of_whom_the_log_does_not_know_can_not_be_judged_again(shown: Shown, terms: dict[str, Any]) -> None:
    await read(shown)
    record = await shown.inside.disclosures.log.at(0)
    assert record is not None
    [found] = unpacked(record.entry.public())
    of_nobody = msgspec.structs.replace(
        found.given, terms=msgspec.structs.replace(found.given.terms, **terms), members=(new_id(),), tag=""
    )
    await shown.inside.disclosures.log.write([msgspec.structs.replace(found, given=of_nobody, caller="forged")])
    [forged] = (await shown.inside.disclosed.WhoRead(pb.WhoReadRequest(caller="forged"))).disclosures
    with pytest.raises(grpc.RpcError) as refused:
        await again(shown, forged)
    assert reason_of(refused.value) == "NOT_DERIVABLE"
