"""What identity does with INGEST besides reading it: it purges what it has consumed, and knows which epochs that was."""

import base64
import json
from typing import Any

import msgspec
import nats.js.errors
from nats.aio.client import Client

from shared.bus.connection import REQUEST_TIMEOUT_S
from shared.events.wire import INGEST_STREAM, decode_batch
from shared.vault.vault import EPOCH_OWNER

NOT_FOUND = (404,)


async def purge_consumed(client: Client, consumed: int) -> int:
    """Deletes INGEST up to and with this sequence; how many messages there were."""
    answer = await _api(client, f"STREAM.PURGE.{INGEST_STREAM}", {"seq": consumed + 1})
    return int(answer.get("purged", 0))


async def first_unconsumed_epoch(client: Client, consumed: int) -> bytes | None:
    """Of the oldest message that identity has not consumed; None when there is none, or when it can't be told."""
    query = {"seq": consumed + 1, "next_by_subj": INGEST_STREAM}
    answer = await _api(client, f"STREAM.MSG.GET.{INGEST_STREAM}", query)
    if "message" not in answer:
        return None
    try:
        epoch = decode_batch(base64.b64decode(answer["message"].get("data", ""))).epoch
    except msgspec.DecodeError:
        return EPOCH_OWNER  # before all epochs: nothing is known to be consumed
    return epoch


async def _api(client: Client, what: str, query: dict[str, Any]) -> dict[str, Any]:
    """Empty when there is no such stream or message. Raises one of BROKER_DOWN, APIError."""
    message = await client.request(f"$JS.API.{what}", json.dumps(query).encode(), timeout=REQUEST_TIMEOUT_S)
    answer: dict[str, Any] = json.loads(message.data)
    error = answer.get("error")
    if error and error.get("code") not in NOT_FOUND:
        nats.js.errors.APIError.from_error(error)
    return {} if error else answer
