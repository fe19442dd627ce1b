"""Laws of what is noted in memory and written later, whatever becomes of the writing."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.behind import Behind
from services.ingest.domain.plan import Finding
from services.ingest.verdicts import REJECTED, Verdicts
from services.ingest.violations import Violations

AT_MOST = 4
KEYS = st.sampled_from("abcdef")
WRITES = st.tuples(st.sampled_from(["saved", "down", "refused", "cancelled"]), st.lists(KEYS, max_size=5))


class Table:
    """Fails as told; meanwhile the door notes more."""

    def __init__(self) -> None:
        self.saved, self.refused, self.noted = Counter[str](), Counter[str](), Counter[str]()
        self.outcome, self.meanwhile = "saved", list[str]()
        self.behind = Behind("test", AT_MOST, int.__add__, self._save)

    def note(self, key: str) -> None:
        if self.behind.has_room(key):
            self.behind.add(key, 1)
            self.noted[key] += 1
        assert len(self.behind._waiting) + len(self.behind._under_way) <= AT_MOST

    async def write(self, outcome: str, meanwhile: list[str]) -> None:
        self.outcome, self.meanwhile = outcome, meanwhile
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self.behind.write()

    async def _save(self, notes: Mapping[str, int]) -> None:
        for key in self.meanwhile:
            self.note(key)
        match self.outcome:
            case "down":
                raise ConnectionRefusedError
            case "cancelled":
                raise asyncio.CancelledError
            case "refused":
                self.refused.update(notes)
                raise asyncpg.CheckViolationError
        self.saved.update(notes)


@given(st.lists(st.one_of(KEYS, WRITES), max_size=30))
async def test_all_that_is_noted_is_written_once_except_what_is_refused(story: list[str | tuple[str, list[str]]]) -> None:
    table = Table()
    for step in story:
        if isinstance(step, str):
            table.note(step)
        else:
            await table.write(*step)
        assert len(table.behind._waiting) <= AT_MOST
    await table.write("saved", [])
    assert table.saved + table.refused == table.noted


class Pool:
    """Of a database that fails as often as told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.written: list[Any] = []

    async def execute(self, statement: str, *columns: Any) -> None:
        if self.failures:
            raise self.failures.pop()
        self.written += list(zip(*columns, strict=True))


def verdicts(pool: Pool) -> Behind[Any, Any]:
    verdicts = Verdicts(pool, lambda: 1)
    verdicts.remember(b"event", REJECTED, "TOO_LARGE")
    return verdicts._behind


def violations(pool: Pool) -> Behind[Any, Any]:
    violations = Violations(pool)
    violations.count("crm", 1, (Finding("SCHEMA_VIOLATION", "flag", "place"),), 1)
    return violations._behind


@pytest.mark.parametrize("note", [verdicts, violations])
async def test_the_notes_of_the_door_wait_for_the_database_and_are_dropped_where_it_refuses_them(note: Any) -> None:
    patient = Pool(ConnectionRefusedError())
    behind = note(patient)
    with pytest.raises(ConnectionRefusedError):
        await behind.write()
    await behind.write()
    assert len(patient.written) == 1
    refusing = Pool(asyncpg.CharacterNotInRepertoireError("invalid byte sequence"))
    behind = note(refusing)
    await behind.write()
    await behind.write()
    assert refusing.written == []
