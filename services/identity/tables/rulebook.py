"""Which rules were in force where in identity's log. The log is what says so; nothing else keeps it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.identity.domain.rules_document import RulesDocument, document_of, rules_of
from services.identity.graph.rules import DEFAULT_RULES, Rules
from shared.events.rules import RULES_ACTIVATED, RULES_SETTLED, RulesDiffer
from shared.ids import derived_id
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record
from shared.log.reader import Stretch

PARTITION: Final = 0  # of identity's log, that has no other
RULES_STREAM: Final = derived_id(b"rules")
decode_document = msgspec.json.Decoder(RulesDocument).decode


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules, in force from behind position `pos` until the next one."""

    rules: Rules
    document: RulesDocument
    pos: int = -1
    event_id: bytes = b""
    recorded_at: int = 0
    activated_at: int = 0
    request_id: str = ""
    activated_by: str = ""
    reason: str = ""
    expected: RulesDiffer = RulesDiffer()
    settled: bool = False

    @property
    def version(self) -> int:
        return self.rules.version


# What is shipped becomes an event when an installation starts for the first time: a release that ships others changes nothing by it.
SHIPPED: Final = Activation(
    rules=DEFAULT_RULES, document=document_of(DEFAULT_RULES), activated_by="customer360", reason="as shipped", settled=True
)


async def history(reader: LogReader, instant: int = END_OF_TIME) -> list[Activation]:
    """Every version as it was known at an instant, oldest first; the last one is in force."""
    return fold(await reader.streams([(PARTITION, RULES_STREAM)], instant))


async def known_at(reader: LogReader, instant: int = END_OF_TIME) -> Activation:
    """What was in force at an instant of the log's own clock. Reads no other version: a document may have a megabyte."""
    records = await back_to(RULES_ACTIVATED.id, reader, RULES_STREAM, instant)
    return fold(records)[-1]


async def back_to(type_id: str, reader: LogReader, stream: bytes, instant: int) -> list[Record]:
    """The end of a stream, as it was known at an instant, from the last event of that type on."""
    newest = await reader.newest(PARTITION, stream, instant)
    records = [newest] if newest else []
    while records and records[0].entry.type_id != type_id and records[0].version > 1:
        before = records[0].version - 1
        records[:0] = await reader.history([Stretch(PARTITION, stream, before, before)])
    return records


def behind(activation: Activation, records: Sequence[Record]) -> Activation:
    """What is in force behind these events, of whatever streams, when `activation` was ahead of them."""
    return fold([record for record in records if record.entry.stream == RULES_STREAM], activation)[-1]


def fold(records: Sequence[Record], before: Activation | None = None) -> list[Activation]:
    """`before` is the version ahead of them, if they are not the whole stream."""
    first = before or SHIPPED
    found = {first.version: first}
    for record in records:
        public = record.entry.public()
        if record.entry.type_id == RULES_ACTIVATED.id:
            document = decode_document(public.document)
            found[public.version] = Activation(
                rules=rules_of(document, public.version),
                document=document,
                pos=record.pos,
                event_id=record.entry.event_id,
                recorded_at=record.recorded_at,
                activated_at=record.entry.occurred_at,
                request_id=public.request_id,
                activated_by=public.activated_by,
                reason=public.reason,
                expected=public.expected,
                settled=public.version == SHIPPED.version,
            )
        elif record.entry.type_id == RULES_SETTLED.id:
            found[public.version] = msgspec.structs.replace(found[public.version], settled=True)
    return list(found.values())


def in_force_at(activations: Sequence[Activation], pos: int) -> Activation:
    """By which rules the event at a position of identity's log was concluded."""
    return next((one for one in reversed(activations) if one.pos < pos), activations[0])


def blocked_since(activations: Sequence[Activation], value_hash: bytes, version: int) -> Activation | None:
    """From which version on a value was blocked by all up to this one; None: this one alone blocks it, and isn't among them yet."""
    since = None
    for one in reversed(activations[:version]):
        if value_hash not in one.rules.blocked:
            break
        since = one
    return since
