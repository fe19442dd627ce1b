"""Whether what a record says follows again from the logs: all of it, and as far as what it was made from is still there."""

from collections.abc import AsyncIterator

import pytest_asyncio
from c360.profile.v1 import disclosure_pb2 as pb

from services.stack.stack import Stack
from shared.events import customer as events
from shared.events.catalogue import make_entry
from shared.instants import now_us
from tests.live.inside import Inside, new_id
from tests.live.test_disclosures import read, who_read
from tests.live.test_ready import Shown


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
