"""Writes what has to change of who is in which segment, with why and since when: the one place that does."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from services.profile.beginnings import Beginnings, Mover
from services.profile.causes import RULES, Cause, because, begins_with, cause_of, change_of
from services.profile.domain.membership import Move, by_events_alone, moves
from services.profile.domain.rules import Rules
from services.profile.standings import Seen, Standings
from services.profile.tables import memberships, remade
from services.profile.tables.memberships import Place
from shared.ids import partition_of
from shared.instants import Clock
from shared.log import LogReader, Record
from shared.log.reader import Stretch
from shared.pieces import AT_ONCE
from shared.store.pool import Heard


class MembershipWriter:
    def __init__(self, standings: Standings, beginnings: Beginnings, partitions: int, clock: Clock) -> None:
        self._standings = standings
        self._beginnings = beginnings
        self._partitions = partitions
        self._clock = clock

    async def causes(self, connection: Any, seen: Seen, changed: Mapping[bytes, int]) -> dict[bytes, Cause]:
        """By canonical customer, of whoever moves; `changed` are events by stream, the newest ones."""
        written = await memberships.written(connection, [member for cluster in seen.clusters.values() for member in cluster])
        moving = {c for c, cluster in seen.clusters.items() if moves(written, cluster, c, seen.standings[c].segments)}
        stretches = [
            Stretch(partition_of(member, self._partitions), member, one.version - changed[member] + 1, one.version)
            for canonical in moving
            for member, one in seen.clusters[canonical].items()
            if member in changed
        ]
        records = await LogReader(connection).history(stretches) if stretches else []
        by_stream: dict[bytes, list[Record]] = {}
        for record in records:
            by_stream.setdefault(record.entry.stream, []).append(record)
        return {
            canonical: cause_of([record for member in seen.clusters[canonical] for record in by_stream.get(member, ())])
            for canonical in moving
        }

    async def write(self, connection: Any, rules: Rules, place: Place, seen: Seen, causes: Mapping[bytes, Cause]) -> set[bytes]:
        """Of all segments, for the `causes` by canonical customer. Whose memberships changed."""
        if not seen.clusters:
            return set()
        everybody = await self._without_erased(connection, seen)
        found = self._moves(await memberships.written(connection, everybody), seen)
        moved = await self._told(connection, rules, place, seen, causes, found)
        due: dict[bytes, int | None] = dict.fromkeys(everybody)
        await memberships.set_due(connection, due | {canonical: one.due_at for canonical, one in seen.standings.items()})
        if place.making:
            await remade.copy(connection, everybody)
        return moved

    async def write_differing(self, connection: Any, rules: Rules, place: Place, seen: Seen) -> set[bytes]:
        """Of those segments that other rules made differ, and that were looked at alone. Of the rest whatever is new is left to whoever
        follows the log, who knows why."""
        if not seen.clusters:
            return set()
        everybody = await self._without_erased(connection, seen)
        written = await memberships.written(connection, everybody)
        found = self._moves({one: names.intersection(place.differing) for one, names in written.items()}, seen)
        causes = dict.fromkeys(found, Cause(RULES, self._clock()))
        moved = await self._told(connection, rules, place, seen, causes, found)
        await memberships.set_due_by(connection, {c: one.due_at for c, one in seen.standings.items() if one.due_at is not None})
        if place.making:
            await remade.copy(connection, everybody)
        return moved

    async def _without_erased(self, connection: Any, seen: Seen) -> list[bytes]:
        """All streams that were seen."""
        if erased := [m for cluster in seen.clusters.values() for m, one in cluster.items() if one.state.erased]:
            await memberships.forget(connection, erased)
        return [member for cluster in seen.clusters.values() for member in cluster]

    def _moves(self, written: Mapping[bytes, Collection[str]], seen: Seen) -> dict[bytes, list[Move]]:
        found = {
            canonical: moves(written, cluster, canonical, seen.standings[canonical].segments)
            for canonical, cluster in seen.clusters.items()
        }
        return {canonical: own for canonical, own in found.items() if own}

    async def _told(
        self,
        connection: Any,
        rules: Rules,
        place: Place,
        seen: Seen,
        causes: Mapping[bytes, Cause],
        found: Mapping[bytes, Sequence[Move]],
    ) -> set[bytes]:
        if not found:
            return set()
        now = self._clock()
        by_rules, late = Cause(RULES, now), self._not_looked_at(place, seen)
        why = {
            move: by_rules
            if canonical in late and move.segment in place.differing
            else because(causes[canonical], move.segment, rules, seen.clusters[canonical])
            for canonical, own in found.items()
            for move in own
        }
        others = {canonical: [move for move in own if why[move].kind != RULES] for canonical, own in found.items()}
        since = await self._since(connection, rules, seen, causes, others, now)
        changes = [
            change_of(move, cause, since.get((move.customer, move.segment), cause.valid_at), rules.version, now)
            for move, cause in why.items()
        ]
        await memberships.write(connection, changes)
        return {change.customer for change in changes}

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

    async def _since(
        self,
        connection: Any,
        rules: Rules,
        seen: Seen,
        causes: Mapping[bytes, Cause],
        moved: Mapping[bytes, Sequence[Move]],
        now: int,
    ) -> dict[tuple[bytes, str], int]:
        """By customer and segment, where what happened says it, and not what others came into force."""
        heads = await memberships.heads(connection)
        movers = {}
        for canonical, own in moved.items():
            cluster, cause = seen.clusters[canonical], causes[canonical]
            if wanted := {move.segment: move.entered for move in own if move.customer == canonical}:
                followed = {member: heads.get(partition_of(member, self._partitions), 0) for member in cluster}
                begins = begins_with(cause, cluster, followed, by_events_alone(rules, wanted))
                movers[canonical] = Mover(cluster, wanted, cause.valid_at if begins else None)
        history = self._standings.history(connection, rules)
        return await self._beginnings.of(history, LogReader(connection), rules, movers, now, Heard(connection, AT_ONCE))
