"""The versions of a source's tracking plan. Pure; a command that was carried out before gives no event."""

from collections.abc import Sequence

import msgspec

from services.ingest.domain.plan import compile_plan
from services.ingest.domain.plan_document import MAX_DOCUMENT_BYTES
from shared.errors import InvalidInput, WrongState
from shared.events.source import PlanPublished
from shared.ids import derived_id
from shared.request_ids import reused


class PublishPlan(msgspec.Struct, frozen=True):
    """`after` is the newest version that its author had seen; None: whatever it is."""

    request_id: str
    source: str
    document: str
    after: int | None = None


def check(command: PublishPlan) -> None:
    """Raises InvalidInput (PLAN_INVALID), whose text names the place in the document."""
    if len(command.document.encode()) > MAX_DOCUMENT_BYTES:
        raise InvalidInput(f"a plan has at most {MAX_DOCUMENT_BYTES // 1024} KiB", reason="PLAN_INVALID")
    compile_plan(command.document, 0, "")


def publish(published: Sequence[PlanPublished], command: PublishPlan) -> PlanPublished | None:
    """`published` are the versions so far. Raises Conflict (REQUEST_ID_REUSED), WrongState (PLAN_VERSION_DIFFERS)."""
    for earlier in published:
        if earlier.request_id == command.request_id:
            if earlier.document != command.document:
                raise reused()
            return None
    newest = published[-1].version if published else 0
    if command.after is not None and command.after != newest:
        raise WrongState("another version was published meanwhile", reason="PLAN_VERSION_DIFFERS", version=newest)
    return PlanPublished(request_id=command.request_id, source=command.source, version=newest + 1, document=command.document)


def stream_of(source: str) -> bytes:
    return derived_id(b"plan", source.encode())
