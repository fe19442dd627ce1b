"""Tells all processes at once that keys were destroyed, so that none goes on with a copy.

A core message: nobody keeps it. A process that was disconnected forgets all its keys when it is back, and any copy that
survives all of this is too old after KEY_AGE_S (`shared/vault/vault.py`).
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.identifiers import forget_normalised
from shared.telemetry import logger
from shared.vault import Vault

SUBJECT = "c360.vault.destroyed"
MOST_OWNERS = 1_000  # a message; 16 bytes each
LOOK_S = 1.0  # how often to look whether the connection was lost meanwhile

log = logger("destructions")
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[bytes]).decode


async def announce(client: Client, owners: Sequence[bytes]) -> None:
    """Returns when the broker has taken it."""
    for first in range(0, len(owners), MOST_OWNERS):
        await client.publish(SUBJECT, encode(list(owners[first : first + MOST_OWNERS])))
    await client.flush()


async def heed(
    client: Client,
    vault: Vault,
    forgotten: Callable[[Collection[bytes]], None] = lambda owners: None,
    all_forgotten: Callable[[], None] = lambda: None,
) -> None:
    """Forgets what others destroy, and everything when it may have missed something. Never returns.

    `forgotten` and `all_forgotten` do the same for what was opened with the keys.
    """

    async def on_destroyed(message: Msg) -> None:
        owners = decode(message.data)
        vault.forget(owners)
        forgotten(owners)
        forget_normalised()
        log.info("keys were destroyed", keys=len(owners))

    subscription = await client.subscribe(SUBJECT, cb=on_destroyed)
    reconnects = client.stats["reconnects"]
    try:
        while True:
            await asyncio.sleep(LOOK_S)
            if client.stats["reconnects"] != reconnects:
                reconnects = client.stats["reconnects"]
                vault.forget_all()
                all_forgotten()
                forget_normalised()
    finally:
        await subscription.unsubscribe()
