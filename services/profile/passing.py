"""Whom the passing of time may permit, or no longer permit, to be shown: no event and no decision tells who follows everybody of them."""

from collections.abc import Sequence
from typing import Final

from services.profile.following import PASSED, Places, Step, partition_name
from services.profile.tables.consents import Consents, Span
from services.profile.tables.identifiers import Identifiers
from shared.consent_conditions import minor_under, time_permits
from shared.events.consent import EVERY_PURPOSE, PurposeDefined
from shared.instants import DAY, SECOND, Clock, years_after
from shared.log import LogReader

PAGE_PASSED: Final = 500  # decisions
AT_ONCE: Final = DAY  # of time that passed while nobody followed, of ages: within it a year is as long as any, but for a leap day
EVERY: Final = SECOND  # it is asked what is due, of a log in which something is new all the time
LEAP_DAYS: Final = (-DAY, 0, DAY)


class Passing:
    """A place in time, up to which it was told who came of age and whose grants ran out. Who comes to be looked at too early is looked at again."""

    def __init__(self, consents: Consents, identifiers: Identifiers, clock: Clock, since: int, every: int = EVERY) -> None:
        self._consents = consents
        self._identifiers = identifiers
        self._clock = clock
        self._every = every
        self._included = since
        self._amid = b""  # of those who are due just after that, the identifiers up to this one were looked at
        self.is_behind = False

    def places(self) -> Places:
        return {PASSED: self._included}

    async def page(self, purpose: PurposeDefined) -> list[Step]:
        """Whom to look at, of those who are due by now; the place is behind them then."""
        now = self._clock()
        if now < self._included + self._every and not self.is_behind:
            return []
        until = min(now, self._included + AT_ONCE) if time_permits(purpose) else now
        spans = _spans(purpose, self._included, until)
        after = (self._included + 1, self._amid)
        rows = await self._consents.due_within(spans, after, PAGE_PASSED) if spans and until > self._included else []
        if len(rows) < PAGE_PASSED:
            self._included, self._amid = max(self._included, until), b""
        else:  # as many may be due at one instant
            self._included, self._amid = rows[-1].due_at - 1, rows[-1].value_hash
        self.is_behind = len(rows) >= PAGE_PASSED or until < now
        customers = await self._identifiers.customers_of({row.value_hash for row in rows}) if rows else {}
        due = {customers[row.value_hash]: row.due_at for row in rows if row.value_hash in customers}
        return [Step(PASSED, min(at, self._included), customer) for customer, at in due.items()]


async def passed_by(after: Places | None, partitions: int, reader: LogReader, clock: Clock) -> int:
    """When what was told to whoever goes on from there was so; no later, if that isn't known. Who begins is told of everybody as of now."""
    if after is None or PASSED in after:
        return clock() if after is None else after[PASSED]
    ends = [(partition, after[name]) for partition in range(partitions) if (name := partition_name(partition)) in after]
    newest = [record for partition, end in ends for record in await reader.partition(partition, end, 1, end)]
    return max((record.recorded_at for record in newest), default=clock())


def _spans(purpose: PurposeDefined, since: int, until: int) -> Sequence[Span]:
    """When that was decided which time makes another verdict of: grants that run out, and ages, by which somebody is old enough after so many years."""
    lasting = purpose.expires_after_days * DAY
    shifts = [(purpose.name, lasting)] if lasting else []
    if time_permits(purpose):
        years = (until - years_after(until, -number) for number in range(1, minor_under(purpose) + 1))
        shifts += [(EVERY_PURPOSE, shift + leap) for shift in years for leap in LEAP_DAYS]
    return [Span(name, since - shift, until - shift, shift) for name, shift in shifts]
