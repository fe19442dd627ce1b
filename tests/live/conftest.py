"""What live tests of single services share."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.stack.stack import Stack
from tests.live.audited import Audited
from tests.live.consent_shop import Shop
from tests.stacks import fresh_stack


@pytest_asyncio.fixture(scope="session")
async def shop() -> AsyncIterator[Shop]:
    """Consent on servers of its own: its tests write CUSTOMER, which elsewhere is identity's, and kill what they use."""
    with fresh_stack(services=["consent"]) as stack:
        shop = await Shop.open(stack)
        yield shop
        await shop.close()


@pytest.fixture(scope="session")
def audited() -> Iterator[Audited]:
    """Everything on servers of its own, because tests tamper with its logs."""
    with fresh_stack() as stack, tempfile.TemporaryDirectory(prefix="c360-test-") as directory:
        yield Audited(stack, Path(directory))


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """Everything, for one test alone."""
    with fresh_stack() as stack:
        yield stack
