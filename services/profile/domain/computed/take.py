"""Takes events into what is kept for computed traits, and joins what was kept of customers that are one."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.profile.domain.computed import occurrences
from services.profile.domain.computed.definitions import Alike, Definitions
from services.profile.domain.computed.events import happened_at, name_of, values_of
from services.profile.domain.computed.occurrences import Kept, Occurrence
from services.profile.domain.computed.totals import Total, furthest
from shared.events import customer as events
from shared.events.catalogue import Entry


class Counting:
    """Events of one stream that are to be kept together: what is done for each definition is done once for all of them."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._counted: dict[Alike, list[Occurrence]] = {}
        self._stream = b""

    def count(self, entry: Entry, public: events.Activity, personal: Any) -> None:
        """An event whose personal part is readable."""
        definitions = self._definitions
        wanting = definitions.wanting(name_of(personal))
        if not wanting:
            return
        self._stream = entry.stream
        values = values_of(definitions.language, definitions.used, entry, public, personal)
        for one in wanting:
            counts, value = one.counts(values)
            if counts:
                self._counted.setdefault(one, []).append((happened_at(entry, public), entry.event_id, value))

    def keep(self, kept: dict[str, Kept]) -> None:
        """Adds them in place."""
        for one, found in self._counted.items():
            ordered = occurrences.in_order(found)
            for definition in one.definitions:
                held = kept.get(definition.name)
                if held is None:
                    held = kept[definition.name] = definition.nothing_kept()
                occurrences.add(held, ordered, self._stream)
        self._counted = {}


def join(all_kept: Iterable[Mapping[str, Kept]], of_a_stream: Callable[[Iterable[Total]], Total] = furthest) -> dict[str, Kept]:
    """What taking the events of all gives. None changes; nor may what is given: what only one of them has is its own.

    Several that have the same stream in them are that stream as it went on, or, with `together`, parts of it that share no event.
    """
    found: dict[str, list[Kept]] = {}
    for kept in all_kept:
        for name, held in kept.items():
            found.setdefault(name, []).append(held)
    return {name: held[0] if len(held) == 1 else occurrences.joined(held, of_a_stream) for name, held in found.items()}
