"""Which rules were in force where in identity's log. The log is what says so; nothing else keeps it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.identity.domain.rules_document import RulesDocument, document_of, rules_of
from services.identity.graph.rules import DEFAULT_RULES, Rules
from shared.events.rules import RULES_ACTIVATED, RULES_SETTLED, RulesDiffer
from shared.ids import derived_id
from shared.log import LogReader, Record

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


async def history(reader: LogReader) -> list[Activation]:
    """Every version, oldest first; the last one is in force."""
    return fold(await reader.streams([(PARTITION, RULES_STREAM)]))


def fold(records: Sequence[Record]) -> list[Activation]:
    found = {SHIPPED.version: SHIPPED}
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


def known_at(activations: Sequence[Activation], instant: int) -> Activation:
    """The rules that were in force at an instant of the log's own clock."""
    return next((one for one in reversed(activations) if one.recorded_at <= instant), activations[0])


def in_force_at(activations: Sequence[Activation], pos: int) -> Activation:
    """By which rules the event at a position of identity's log was concluded."""
    return next((one for one in reversed(activations) if one.pos < pos), activations[0])
