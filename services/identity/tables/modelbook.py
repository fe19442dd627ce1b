"""Which models were in force, from identity's log. The log is what says so, and holds their text; nothing else keeps it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from services.identity.matching import model
from services.identity.matching.conditions import ModelInvalid
from services.identity.matching.model import Model
from services.identity.matching.trap import HouseholdTrap, refuse_household_trap
from services.identity.tables.rulebook import PARTITION, back_to
from shared.errors import InvalidInput
from shared.events.models import MODEL_ACTIVATED, MODEL_SETTLED
from shared.events.rules import RulesDiffer
from shared.ids import derived_id
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record

MODEL_STREAM: Final = derived_id(b"model")
MAX_DOCUMENT_BYTES = 2 * 1024 * 1024  # it is one event, and one message; the shipped one has 70 KB


class ModelActivation(msgspec.Struct, frozen=True, kw_only=True):
    """A model, in force until the next one."""

    number: int
    version: str  # digest of the document
    document: str
    recorded_at: int = 0
    activated_at: int = 0
    request_id: str = ""
    activated_by: str = ""
    reason: str = ""
    expected: RulesDiffer = RulesDiffer()
    settled: bool = False

    @property
    def model(self) -> Model:
        return _loaded(self.document)


@lru_cache(maxsize=2)
def _loaded(document: str) -> Model:
    return model.load(document.encode())


def read(document: str) -> Model:
    """Raises InvalidInput (MODEL_INVALID, HOUSEHOLD_TRAP), whose text says where."""
    if len(document.encode()) > MAX_DOCUMENT_BYTES:
        raise InvalidInput(f"a model has {MAX_DOCUMENT_BYTES} bytes at most", reason="MODEL_INVALID")
    try:
        found = _loaded(document)
        refuse_household_trap(found)
    except ModelInvalid as error:
        raise InvalidInput(str(error), reason="MODEL_INVALID") from None
    except HouseholdTrap as error:
        raise InvalidInput(str(error), reason="HOUSEHOLD_TRAP") from None
    return found


def shipped() -> ModelActivation:
    """It becomes an event when an installation starts for the first time: a release that ships another changes nothing by it."""
    document = model.DEFAULT_FILE.read_text(encoding="utf-8")
    return ModelActivation(
        number=1,
        version=_loaded(document).version,
        document=document,
        activated_by="customer360",
        reason="as shipped",
        settled=True,
    )


async def history(reader: LogReader) -> list[ModelActivation]:
    """Every model, oldest first; the last one is in force."""
    return fold(await reader.streams([(PARTITION, MODEL_STREAM)]))


async def in_force(reader: LogReader, known_at: int = END_OF_TIME) -> ModelActivation:
    """Reads no other: a model may have two megabytes."""
    return fold(await back_to(MODEL_ACTIVATED.id, reader, MODEL_STREAM, known_at))[-1]


def behind(activation: ModelActivation, records: Sequence[Record]) -> ModelActivation:
    """What is in force behind these events, of whatever streams, when `activation` was ahead of them."""
    return fold([record for record in records if record.entry.stream == MODEL_STREAM], activation)[-1]


def fold(records: Sequence[Record], before: ModelActivation | None = None) -> list[ModelActivation]:
    """`before` is the model ahead of them, if they are not the whole stream."""
    found = {before.number: before} if before else {}
    for record in records:
        public = record.entry.public()
        if record.entry.type_id == MODEL_ACTIVATED.id:
            found[public.number] = ModelActivation(
                number=public.number,
                version=public.model,
                document=public.document,
                recorded_at=record.recorded_at,
                activated_at=record.entry.occurred_at,
                request_id=public.request_id,
                activated_by=public.activated_by,
                reason=public.reason,
                expected=public.expected,
                settled=public.number == 1,
            )
        elif record.entry.type_id == MODEL_SETTLED.id:
            found[public.number] = msgspec.structs.replace(found[public.number], settled=True)
    return list(found.values()) or [shipped()]
