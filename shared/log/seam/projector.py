"""Makes the `projector_func` of the library's repository from the fold that a service's domain has anyway."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from shared.events.catalogue import Entry
from shared.log.seam.mapper import LogEvent
from shared.privacy import Personal, Redacted

State = TypeVar("State")


@dataclass(frozen=True)
class Replayed(Generic[State]):
    """An immutable aggregate: what the events of one stream amount to, up to `version`."""

    id: UUID
    version: int
    state: State


def projector(
    begin: Callable[[], State],
    fork: Callable[[State], State],
    evolve: Callable[[State, Entry, Any, Personal | Redacted | None], None],
) -> Callable[[Replayed[State] | None, Iterable[LogEvent]], Replayed[State] | None]:
    """`evolve` changes a state in place; what was there before is forked first and stays as it was."""

    def project(before: Replayed[State] | None, events: Iterable[LogEvent]) -> Replayed[State] | None:
        state = begin() if before is None else fork(before.state)
        newest = None
        for newest in events:
            evolve(state, newest.entry, newest.public, newest.personal)
        return before if newest is None else Replayed(newest.originator_id, newest.originator_version, state)

    return project
