"""Standardisation: what the sources call differently gets one name and one form, and what was sent is kept.

`raw` leads from the canonical name to {"field", "value"} as sent, and, where several fields of an event mean the same, to
{"others"} as well. Laws: standardised twice is standardised once; the order of fields doesn't matter; what was sent can
be had back from both; nothing raises.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.ingest.domain.codes import folded
from services.ingest.domain.coercions import FAILED, Coerce

MEMORISED_NAMES: Final = 4_096  # of fields; senders that make names up don't fill the memory

Fields = dict[str, Any]


class Target(msgspec.Struct, frozen=True):
    """`rank` decides between fields of one event that mean the same: the canonical name first, then as the plan lists them."""

    canonical: str
    rank: int


class Standard(msgspec.Struct, frozen=True):
    """`failed` are canonical names whose values could not be coerced; they stay as they were sent."""

    fields: Fields
    raw: Fields = {}
    failed: Sequence[str] = ()


class Standardiser:
    """`sources` leads from the canonical name to the names that sources use for it, `coercions` to the form of its value."""

    def __init__(self, sources: Mapping[str, Sequence[str]], coercions: Mapping[str, Coerce], *, loose: bool) -> None:
        self._coercions = dict(coercions)
        self._loose = loose
        self._targets: dict[str, Target] = {}
        for canonical, names in sources.items():
            for rank, name in enumerate((canonical, *names)):
                self._targets.setdefault(self._key(name), Target(canonical, rank))
        for canonical in sources:
            self._targets[self._key(canonical)] = Target(canonical, 0)
        self._memory: dict[str, Target | None] = {}

    def target(self, name: str) -> Target | None:
        """None: the field keeps its name and its value."""
        try:
            return self._memory[name]
        except KeyError:
            found = self._targets.get(self._key(name))
            if len(self._memory) < MEMORISED_NAMES:
                self._memory[name] = found
            return found

    def standardise(self, fields: Fields) -> Standard:
        memory = self._memory
        hits: dict[str, Any] = {}  # canonical name: (rank, field), or a list of them
        for name in fields:
            target = memory[name] if name in memory else self.target(name)
            if target is not None:
                place = target.rank, name
                found = hits.setdefault(target.canonical, place)
                if found is not place:
                    hits[target.canonical] = [*(found if isinstance(found, list) else (found,)), place]
        return self._apply(fields, hits) if hits else Standard(fields)

    def _apply(self, fields: Fields, hits: dict[str, Any]) -> Standard:
        found = None
        raw: Fields = {}
        failed: list[str] = []
        for canonical, place in hits.items():
            several = isinstance(place, list)
            field = self._chosen(canonical, fields, place) if several else place[1]
            sent = fields[field]
            value = self._coerced(canonical, sent)
            if value is FAILED:
                failed.append(canonical)
                value = sent
            if several or field != canonical or not _same(value, sent):
                found = dict(fields) if found is None else found
                raw[canonical] = {"field": field, "value": sent}
                if several:
                    raw[canonical]["others"] = {name: fields[name] for _, name in place if name != field}
                    for _, name in place:
                        del found[name]
                else:
                    del found[field]
                found[canonical] = value
        return Standard(fields if found is None else found, raw, sorted(failed))

    def _chosen(self, canonical: str, fields: Fields, names: Sequence[tuple[int, str]]) -> str:
        """What can be read goes first, then what says something, then the rank; to say nothing removes nothing that another says."""

        def order(item: tuple[int, str]) -> tuple[bool, bool, bool, tuple[int, str]]:
            value = fields[item[1]]
            return value is None, self._coerced(canonical, value) is FAILED, _is_empty(value), item

        return min(names, key=order)[1]

    def _coerced(self, canonical: str, value: Any) -> Any:
        coerce = self._coercions.get(canonical)
        return value if coerce is None or value is None else coerce(value)

    def _key(self, name: str) -> str:
        return folded(name) if self._loose else name


def _is_empty(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else isinstance(value, list | dict) and not value


def _same(value: Any, sent: Any) -> bool:
    """True is not 1, and 1 is not 1.0."""
    return value is sent or (type(value) is type(sent) and value == sent)
