"""Which rules were in force when. The log is what says so; every version stays in memory, for reads of the past."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import SHIPPED, SHIPPED_RULES, RulesDocument, rules_of
from shared.errors import NotFound
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED, PROFILE_RULES_SETTLED, ProfileRulesDiffer
from shared.ids import derived_id, partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader, Record

RULES_STREAM: Final = derived_id(b"profile rules")  # no customer has this id
decode_document = msgspec.json.Decoder(RulesDocument).decode


class Activation(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules, in force from `recorded_at` until the next one."""

    rules: Rules
    document: RulesDocument
    recorded_at: int = 0
    activated_at: int = 0
    request_id: str = ""
    activated_by: str = ""
    reason: str = ""
    expected: ProfileRulesDiffer = ProfileRulesDiffer()
    settled: bool = False

    @property
    def version(self) -> int:
        return self.rules.version


class Reign(msgspec.Struct, frozen=True):
    """Rules that were in force at every instant from the first to the last, both included."""

    rules: Rules
    since: int
    until: int


# It becomes an event when an installation starts for the first time: a release that ships others changes nothing by it.
AS_SHIPPED: Final = Activation(rules=SHIPPED_RULES, document=SHIPPED, activated_by="customer360", reason="as shipped", settled=True)


class Rulebook:
    """What is in memory follows the log: it is loaded from it, and changes by what is committed."""

    def __init__(self, reader: LogReader, partitions: int) -> None:
        self._reader = reader
        self.partition = partition_of(RULES_STREAM, partitions)
        self._activations = [AS_SHIPPED]
        self._version = 0  # of the stream

    @property
    def activations(self) -> Sequence[Activation]:
        """Every version, oldest first; the last one is in force."""
        return self._activations

    @property
    def in_force(self) -> Activation:
        return self._activations[-1]

    @property
    def rules(self) -> Rules:
        """Those in force."""
        return self.in_force.rules

    def known_at(self, instant: int) -> Rules:
        """Those in force at an instant of the log's own clock."""
        return next((one.rules for one in reversed(self._activations) if one.recorded_at <= instant), AS_SHIPPED.rules)

    def reigns(self, since: int, through: int) -> Iterator[Reign]:
        """What was in force after one instant, up to the other, earliest first; each as far as it went, so the last may go on."""
        ends = [one.recorded_at - 1 for one in self._activations[1:]] + [END_OF_TIME]
        for one, until in zip(self._activations, ends, strict=True):
            if one.recorded_at <= through and until > since:
                yield Reign(one.rules, max(since, one.recorded_at), until)

    def version(self, number: int) -> Activation:
        """Raises NotFound (RULES_UNKNOWN)."""
        if not 1 <= number <= len(self._activations):
            raise NotFound("there is no such version of the rules", reason="RULES_UNKNOWN", version=number)
        return self._activations[number - 1]

    @property
    def recorded(self) -> int:
        """How many events the rules' stream has."""
        return self._version

    async def load(self) -> None:
        records = await self._reader.streams([(self.partition, RULES_STREAM)], END_OF_TIME)
        self._activations, self._version = fold(records), len(records)

    def committed(self, records: Sequence[Record]) -> None:
        """Of whatever streams."""
        if own := [record for record in records if record.entry.stream == RULES_STREAM]:
            self._activations, self._version = fold(own, self._activations), self._version + len(own)


def fold(records: Sequence[Record], before: Sequence[Activation] = (AS_SHIPPED,)) -> list[Activation]:
    """`before` are the versions ahead of them, if they are not the whole stream."""
    found = {one.version: one for one in before}
    for record in records:
        public = record.entry.public()
        if record.entry.type_id == PROFILE_RULES_ACTIVATED.id:
            document = decode_document(public.document)
            found[public.version] = Activation(
                rules=rules_of(document, public.version),
                document=document,
                recorded_at=record.recorded_at,
                activated_at=record.entry.occurred_at,
                request_id=public.request_id,
                activated_by=public.activated_by,
                reason=public.reason,
                expected=public.expected,
                settled=public.version == AS_SHIPPED.version,
            )
        elif record.entry.type_id == PROFILE_RULES_SETTLED.id:
            found[public.version] = msgspec.structs.replace(found[public.version], settled=True)
    return list(found.values())
