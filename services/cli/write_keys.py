"""`c360 sources keys`, `add-key` and `revoke-key`."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer

from services.cli import render
from services.cli.errors import NotReachable
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, RequestId, SourceName, TimeoutS

KeyName = Annotated[str, typer.Argument(metavar="KEY", help="The key's name: lower-case letters, digits and hyphens.")]


def list_keys(name: SourceName, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """List the write keys of a source, oldest first, revoked ones too."""
    from c360.ingest.v1 import source_pb2, source_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect("ingest") as channel:
        answer = source_pb2_grpc.SourceServiceStub(channel).ListKeys(source_pb2.ListKeysRequest(source=name), timeout=timeout_s)
    listed = [messages.plain(key) for key in answer.keys]
    if as_json:
        render.document(listed)
        return
    rows = [(key["name"], f"{key['hint']}…", key["add_time"], key["revoke_time"]) for key in listed]
    render.table("Write keys", ("name", "write key", "added", "revoked"), rows)


def add_key(
    name: SourceName,
    key_name: KeyName,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Give a source a further write key and show it, this once."""
    from c360.ingest.v1 import source_pb2, source_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = source_pb2.AddKeyRequest(request_id=request_id or str(uuid4()), source=name, name=key_name)
    try:
        with connect("ingest") as channel:
            answer = source_pb2_grpc.SourceServiceStub(channel).AddKey(request, timeout=timeout_s)
    except NotReachable as failure:
        failure.hint = f"It may have been added: repeat the command with --request-id {request.request_id}"
        raise
    if as_json:
        render.document(messages.plain(answer))
        return
    shown = answer.write_key or "was shown when this request id was first used"
    render.facts([("key", answer.key.name), ("write key", shown), ("position", messages.position_text(answer.position))])
    if answer.write_key:
        render.note("Keep the write key now: only its hash is stored.")


def revoke_key(
    name: SourceName,
    key_name: KeyName,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Make a write key useless, for ever, in every ingest process. To do it again changes nothing."""
    from c360.ingest.v1 import source_pb2, source_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = source_pb2.RevokeKeyRequest(request_id=request_id or str(uuid4()), source=name, name=key_name)
    with connect("ingest") as channel:
        answer = messages.plain(source_pb2_grpc.SourceServiceStub(channel).RevokeKey(request, timeout=timeout_s))
    render.document(answer) if as_json else render.facts(
        [("revoked already" if answer["revoked_before"] else "revoked", key_name), ("position", answer["position"])]
    )
