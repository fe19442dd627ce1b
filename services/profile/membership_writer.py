"""Writes what has to change of who is in which segment, with why and since when: the one place that does.

It is found before the transaction that writes it (`prepare`), for that may take long and others wait for the transaction; which looks
only whether all is still as it was found.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.profile.beginnings import Beginnings, Mover
from services.profile.causes import RULES, Cause, because, begins_with, cause_of, change_of, new_ones
from services.profile.domain.membership import Move, by_events_alone, moves
from services.profile.domain.rules import Rules
from services.profile.standings import Seen, Standings
from services.profile.tables import erasures, memberships, remade
from services.profile.tables.memberships import Change, Place
from shared.ids import partition_of
from shared.instants import Clock
from shared.log import LogReader, Record
from shared.log.reader import Stretch
from shared.pieces import AT_ONCE, Leisure, Pieces

AHEAD_AT_MOST: Final = 100  # events of a stream that came while it was looked at: the newest of them are the causes


class Moved(Exception):
    """Somebody else has written meanwhile: nothing of what was prepared counts."""


class Why(msgspec.Struct, frozen=True):
    """`changed` are newest events by stream, `others` what it is by canonical customer where there are none. All was looked at up to
    `followed`, {partition: next position}."""

    followed: Mapping[int, int]
    changed: Mapping[bytes, int] = {}
    others: Mapping[bytes, Cause] = {}


class Prepared(msgspec.Struct, frozen=True):
    """What is to be written of those that were `seen`. Canonical customers that are `put_off` aren't among them."""

    seen: Seen
    moves: Mapping[bytes, Sequence[Move]]
    changes: Sequence[Change] = ()
    put_off: Collection[bytes] = ()
    differing: Collection[str] | None = None  # of these segments alone

    def __repr__(self) -> str:
        return f"<Prepared {len(self.changes)} changes sealed>"


class MembershipWriter:
    def __init__(self, standings: Standings, beginnings: Beginnings, partitions: int, clock: Clock) -> None:
        self._standings = standings
        self._beginnings = beginnings
        self._partitions = partitions
        self._clock = clock

    async def prepare(self, pool: Any, rules: Rules, place: Place, seen: Seen, why: Why, turns: Pieces | None = None) -> Prepared:
        """Of all segments. Without `turns` it is patient; else they hear of each look, and it puts off who moves and of whom it takes long
        to find since when."""
        found = await self._moves(pool, seen, None)
        if not found:
            return Prepared(seen, found)
        causes = await self._causes(pool, seen, found, why)
        by_move = self._why(rules, place, seen, causes, found)
        movers = self._movers(rules, seen, causes, found, by_move, why.followed)
        put_off = (
            set() if turns is None else {canonical for canonical, mover in movers.items() if self._beginnings.takes_long(mover)}
        )
        for canonical in put_off:
            del movers[canonical]
        history = self._standings.history(pool, rules)
        turns = Leisure(AT_ONCE) if turns is None else turns
        since = await self._beginnings.of(history, LogReader(pool), rules, movers, self._clock(), turns)
        changes = [
            change_of(move, by_move[move], since.get((move.customer, move.segment), by_move[move].valid_at), rules.version)
            for canonical, own in found.items()
            if canonical not in put_off
            for move in own
        ]
        moving = {canonical: own for canonical, own in found.items() if canonical not in put_off}
        return Prepared(seen.without(put_off), moving, changes, put_off)

    async def prepare_differing(self, pool: Any, rules: Rules, place: Place, seen: Seen) -> Prepared:
        """Of those segments that other rules made differ, and that were looked at alone. Of the rest whatever is new is left to whoever
        follows the log, who knows why."""
        found = await self._moves(pool, seen, place.differing)
        cause = Cause(RULES, self._clock())
        changes = [change_of(move, cause, cause.valid_at, rules.version) for own in found.values() for move in own]
        return Prepared(seen, found, changes, differing=place.differing)

    async def write(self, connection: Any, place: Place, prepared: Prepared) -> set[bytes]:
        """In the transaction of whoever has the lock. Whose memberships changed. Raises Moved."""
        seen = prepared.seen
        everybody = [member for cluster in seen.clusters.values() for member in cluster]
        if await self._moves(connection, seen, prepared.differing) != prepared.moves:
            raise Moved
        erased = seen.erased
        if not await erasures.erased_among(connection, everybody, self._partitions) <= erased:
            raise Moved
        if erased:
            await memberships.forget(connection, erased)
        if prepared.changes:
            await memberships.write(connection, _at(prepared.changes, self._clock()))
        await self._set_due(connection, everybody, prepared)
        if place.making and everybody:
            await remade.copy(connection, everybody)
        return {change.customer for change in prepared.changes}

    async def _set_due(self, connection: Any, everybody: Collection[bytes], prepared: Prepared) -> None:
        due = {canonical: one.due_at for canonical, one in prepared.seen.standings.items()}
        again = dict(prepared.seen.again)
        if prepared.differing is None:
            await memberships.set_due(connection, dict[bytes, int | None].fromkeys(everybody) | due)
        else:
            again |= {canonical: at for canonical, at in due.items() if at is not None}
        if again:
            await memberships.set_due_by(connection, again)

    async def _moves(self, connection: Any, seen: Seen, differing: Collection[str] | None) -> dict[bytes, list[Move]]:
        """By canonical customer, of whoever moves; of who was erased what is written goes without being told."""
        erased = seen.erased
        rows = await memberships.written(connection, [member for cluster in seen.clusters.values() for member in cluster])
        written = {
            one: names if differing is None else names.intersection(differing) for one, names in rows.items() if one not in erased
        }
        found = {
            canonical: moves(written, cluster, canonical, seen.standings[canonical].segments)
            for canonical, cluster in seen.clusters.items()
        }
        return {canonical: own for canonical, own in found.items() if own}

    async def _causes(self, pool: Any, seen: Seen, moving: Collection[bytes], why: Why) -> dict[bytes, Cause]:
        """By canonical customer. Who is looked at for something else may have had an event meanwhile that isn't followed yet."""
        new = await self._new(pool, seen, moving, why)
        causes = {}
        for canonical in moving:
            own, other = (
                [record for member in seen.clusters[canonical] for record in new.get(member, ())],
                why.others.get(canonical),
            )
            cause = cause_of(own) if own else other
            assert cause is not None, "nobody is looked at for nothing"
            if cause.among and why.changed.keys().isdisjoint(seen.clusters[canonical]):
                cause = msgspec.structs.replace(cause, otherwise=other)
            causes[canonical] = cause
        return causes

    async def _new(self, pool: Any, seen: Seen, moving: Collection[bytes], why: Why) -> dict[bytes, Sequence[Record]]:
        """By stream, the events of these customers' states that nobody had looked at."""
        wanted = list[tuple[Stretch, int]]()
        for canonical in moving:
            for member, one in seen.clusters[canonical].items():
                partition, changed = partition_of(member, self._partitions), why.changed.get(member, 0)
                ahead = AHEAD_AT_MOST if one.pos >= why.followed.get(partition, 0) else 0
                if changed or ahead:
                    wanted.append((Stretch(partition, member, max(1, one.version - changed - ahead + 1), one.version), changed))
        records = await LogReader(pool).history([stretch for stretch, _ in wanted]) if wanted else []
        by_stream: dict[bytes, list[Record]] = {}
        for record in records:
            by_stream.setdefault(record.entry.stream, []).append(record)
        return {
            stretch.stream: new_ones(by_stream.get(stretch.stream, ()), changed, why.followed.get(stretch.partition, 0))
            for stretch, changed in wanted
        }

    def _why(
        self,
        rules: Rules,
        place: Place,
        seen: Seen,
        causes: Mapping[bytes, Cause],
        found: Mapping[bytes, Sequence[Move]],
    ) -> dict[Move, Cause]:
        by_rules, left = Cause(RULES, self._clock()), self._not_looked_at(place, seen)
        return {
            move: by_rules
            if canonical in left and move.segment in place.differing
            else because(causes[canonical], move.segment, rules, seen.clusters[canonical])
            for canonical, own in found.items()
            for move in own
        }

    def _not_looked_at(self, place: Place, seen: Seen) -> set[bytes]:
        """By new rules: who may enter or leave by them, whatever else there is of it."""
        if not place.differing:
            return set()
        reached = (place.partition, place.stream)
        return {
            canonical
            for canonical, cluster in seen.clusters.items()
            if any((partition_of(member, self._partitions), member) > reached for member in cluster)
        }

    def _movers(
        self,
        rules: Rules,
        seen: Seen,
        causes: Mapping[bytes, Cause],
        found: Mapping[bytes, Sequence[Move]],
        by_move: Mapping[Move, Cause],
        heads: Mapping[int, int],
    ) -> dict[bytes, Mover]:
        """Of whom what happened says since when, and not what others came into force."""
        movers = {}
        for canonical, own in found.items():
            cluster, cause = seen.clusters[canonical], causes[canonical]
            wanted = {move.segment: move.entered for move in own if move.customer == canonical and by_move[move].kind != RULES}
            if wanted:
                followed = {member: heads.get(partition_of(member, self._partitions), 0) for member in cluster}
                begins = begins_with(cause, cluster, followed, by_events_alone(rules, wanted))
                movers[canonical] = Mover(cluster, wanted, cause.valid_at if begins else None)
        return movers


def _at(changes: Sequence[Change], now: int) -> list[Change]:
    """As they are written now: whoever asks for sizes waits for the transaction, and not for what was before it."""
    return [msgspec.structs.replace(one, recorded_at=now, valid_at=now if one.cause == RULES else one.valid_at) for one in changes]
