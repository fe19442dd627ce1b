"""The Python client over TLS: it shows its certificate where a service asks for one, and speaks to nobody whom its root hasn't issued."""

from collections.abc import AsyncIterator
from typing import Any

import customer360_client as c360
import pytest

from tests.live.certificates import Authority
from tests.live.channel_backend import DEADLINE_S, Backend
from tests.live.doorman import Doorman, door_of

ADA = c360.by_identifier("email", "ada@example.com")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("ours")


@pytest.fixture
async def door(authority: Authority) -> AsyncIterator[tuple[Doorman, str]]:
    async with door_of(authority) as door:
        yield door


@pytest.mark.parametrize("kind", [c360.Client, c360.AsyncClient])
async def test_it_shows_its_certificate_to_whom_its_root_has_issued(
    door: tuple[Doorman, str], authority: Authority, kind: Any
) -> None:
    doorman, address = door
    key, certificate = authority.issue("mailer.internal")
    tls = c360.Tls(authority.pem.encode(), certificate.encode(), key.encode())
    settings = c360.Settings(c360.Addresses(profile=address), token="mine", tls=tls, timeout_s=DEADLINE_S)
    async with Backend(kind(settings)) as backend:
        await backend.lookup_customer(ADA, "service")
    assert doorman.came == ["Bearer mine"]


@pytest.mark.parametrize("kind", [c360.Client, c360.AsyncClient])
async def test_it_tells_nothing_to_whom_another_authority_has_issued(
    door: tuple[Doorman, str], authority: Authority, kind: Any
) -> None:
    doorman, address = door
    theirs = Authority("theirs")
    key, certificate = authority.issue("mailer.internal")
    tls = c360.Tls(theirs.pem.encode(), certificate.encode(), key.encode())
    async with Backend(kind(c360.Settings(c360.Addresses(profile=address), token="mine", tls=tls, timeout_s=1.0))) as backend:
        with pytest.raises((c360.Unavailable, c360.OutOfTime)):
            await backend.lookup_customer(ADA, "service")
    assert doorman.came == []
