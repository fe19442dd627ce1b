"""Making profile's views anew: its statements have a limit of their own."""

import asyncpg
import pytest

from services.profile import rebuild as rebuilding
from services.profile.composition import ProfileSettings
from services.profile.rebuild import rebuild
from services.stack.stack import Stack
from shared.config import read_settings
from shared.store.pool import COMMAND_TIMEOUT_S


async def test_a_statement_of_a_rebuild_has_the_time_that_a_large_view_takes(
    servers: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rebuilding.STATEMENT_TIMEOUT_S > COMMAND_TIMEOUT_S
    settings = read_settings(ProfileSettings, servers.environment_of("profile"))
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    with monkeypatch.context() as patched:
        patched.setattr(rebuilding, "STATEMENT_TIMEOUT_S", 0.3)
        async with admin.transaction():
            await admin.execute("LOCK TABLE profile.states IN EXCLUSIVE MODE")
            with pytest.raises(TimeoutError):
                await rebuild(settings)
    await admin.close()
    await rebuild(settings)
