"""After the databases were restored from a backup: `python -m services.restore`, before the services start again.

The streams that are filled from a log hold messages of a future that the restored logs don't know. They go, and the relays make
them anew. INGEST stays: what came after the backup is in it, and identity reads it again from the restored position.
"""

import asyncio
import os
import sys

import msgspec
import nats.js.errors

from shared import bus
from shared.config import ConfigError, read_settings
from shared.events.wire import CONSENT_STREAM, CUSTOMER_STREAM, PROFILE_STREAM, SOURCE_STREAM

RELAYED = (CUSTOMER_STREAM, CONSENT_STREAM, PROFILE_STREAM, SOURCE_STREAM)


class RestoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    nats_url: str = "nats://127.0.0.1:4222"


async def forget_relayed_streams(nats_url: str) -> list[str]:
    """Names of those that were there. Waits for the broker."""
    client = await bus.connect(nats_url, "restore")
    gone = []
    try:
        for stream in RELAYED:
            try:
                await client.jetstream().delete_stream(stream)
                gone.append(stream)
            except nats.js.errors.NotFoundError:
                continue
    finally:
        await client.close()
    return gone


def main() -> int:
    try:
        settings = read_settings(RestoreSettings, os.environ)
    except ConfigError as error:
        print(f"restore: {error}", file=sys.stderr)  # noqa: T201
        return 2
    gone = asyncio.run(forget_relayed_streams(settings.nats_url))
    print(f"made anew from the logs when the services start: {', '.join(gone) or 'nothing was there'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
