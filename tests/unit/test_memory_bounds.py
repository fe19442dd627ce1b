"""What is remembered takes the bytes that are said of it, however much there was to remember."""

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Collection
from typing import Any

import pytest

from services.identity.domain.familiar import Familiar
from services.identity.domain.sighting import Understanding
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.rules import DEFAULT_RULES
from services.identity.tables import outbox
from services.identity.tables.outbox import Outbox
from services.profile.cache import LoadingCache
from services.profile.domain.state import Candidate, Held, LinkedIdentifier, State
from services.profile.tables.states import decode_state, memory_bytes
from shared import identifiers
from shared.events.catalogue import encode
from shared.events.wire import RawEvent
from shared.ids import derived_id
from shared.log.writer import KNOWN_STREAMS, LogWriter
from shared.vault import DataKey
from shared.vault.remembered import READY_KEY_BYTES, READY_KEYS, WRAPPED_KEY_BYTES, WRAPPED_KEYS, RememberedKeys, Wrapped

MEGABYTE = 1024 * 1024


def taken(make: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes of Python's own memory that are taken by what is made."""
    tracemalloc.start()
    try:
        made = make()
        gc.collect()  # also empties the interpreter's lists of spare tuples
        return tracemalloc.get_traced_memory()[0], made
    finally:
        tracemalloc.stop()


def an_id(number: int) -> bytes:
    return derived_id(number.to_bytes(8))


def test_what_is_familiar_takes_the_bytes_it_may_however_much_was_seen() -> None:
    def seen() -> Familiar:
        familiar = Familiar(MEGABYTE)
        for number in range(10_000):
            nodes = tuple(Node("user_id", an_id(4 * number + place)) for place in range(1 + number % 4))
            familiar.remember({nodes: (Evidence(1_700_000_000_000_000 + number, an_id(number)), an_id(number))}, {})
        return familiar

    bytes_taken, familiar = taken(seen)
    assert len(familiar._known) > 2_000
    assert bytes_taken < 1.1 * MEGABYTE


@pytest.mark.parametrize("long", [1, 500])
def test_what_is_understood_takes_the_bytes_it_may_however_many_visits_there_were(long: int) -> None:
    def understood() -> Understanding:
        understanding = Understanding(bytes(32), MEGABYTE)
        for number in range(5_000):
            said = {"user_id": f"user-{number}" * long, "anonymous_id": f"device-{number}"}
            traits = {"email": f"user-{number}@shop.example"} if number % 2 else {}
            event = RawEvent(kind="identify", message_id="", source="web", traits=traits, occurred_at=0, received_at=0, **said)  # type: ignore[arg-type]
            understanding.named(event, DEFAULT_RULES)
        return understanding

    understood()  # normal forms of texts are kept elsewhere
    bytes_taken, understanding = taken(understood)
    assert len(understanding._named) > 50
    assert 0.3 * MEGABYTE < bytes_taken < 1.1 * MEGABYTE


def test_of_the_units_that_were_handed_over_no_more_than_some_megabytes_stay_in_memory() -> None:
    handed_over = Outbox(None)
    for number in range(100):
        handed_over.committed([bytes(MEGABYTE)] * (number % 3))
    kept = handed_over._newest
    assert sum(map(len, kept.values())) == handed_over._bytes == outbox.KEPT_BYTES
    assert list(kept) == list(range(handed_over.next_number - len(kept), handed_over.next_number)), "the newest, without a gap"


@pytest.mark.parametrize(("traits", "sources", "named"), [(0, 0, 1), (4, 1, 3), (60, 3, 20), (0, 0, 2_000)])
def test_a_state_takes_about_the_memory_that_is_said_of_it(traits: int, sources: int, named: int) -> None:
    candidates = {f"source-{place}": Candidate(f"value {place}", 10**15 + place, 10**15, an_id(place)) for place in range(sources)}
    state = State(founded_at=10**15, traits={f"trait_{place}": candidates for place in range(traits)})
    state.named = {an_id(number): 10**15 + number for number in range(named)}
    state.identifiers = {an_id(0): LinkedIdentifier(an_id(1), "email", "ann@example.com")}
    encoded = encode(state)
    bytes_taken, held = taken(lambda: [Held(decode_state(encoded), 1, 1, len(encoded)) for _ in range(50)])
    assert 0.5 < bytes_taken / 50 / memory_bytes(held[0]) < 1.1


async def test_a_cache_holds_no_more_than_it_may_by_the_sizes_of_what_it_holds() -> None:
    async def load(keys: Collection[bytes]) -> dict[bytes, bytes]:
        return {key: bytes(key[0]) for key in keys}

    cache = LoadingCache(load, 100, len)
    for number in range(60):
        await cache.get([bytes([number]), bytes([number // 2])])
        cache.put({bytes([number % 7]): bytes(number)})
        cache.drop([bytes([number % 5])])
        assert cache._size == sum(map(len, cache._held.values())) <= 100
    assert await cache.get([bytes([101])]) == {bytes([101]): bytes(101)}, "what is larger than all of it is used and not kept"
    assert cache._size <= 100
    cache.clear()
    assert cache._size == 0


def test_a_wrapped_key_takes_no_more_than_is_said_of_it() -> None:
    key, keyring = DataKey(bytes(32)), Any
    some = 5_000

    def remembered() -> RememberedKeys:
        keys = RememberedKeys(keyring, ready=0)  # type: ignore[arg-type]
        for number in range(some):
            keys.remember(an_id(number), key, Wrapped(bytes([*an_id(number), *range(45)]), "1", 1.0), 0.0)
        return keys

    bytes_taken, _ = taken(remembered)
    assert bytes_taken < some * WRAPPED_KEY_BYTES


def test_a_ready_key_takes_no_more_than_is_said_of_it() -> None:
    """Nearly all of it is no memory of Python's, so a process is asked that does nothing else."""
    grown = """
import os
from shared.vault import DataKey
def resident(): return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
kept = [DataKey(os.urandom(32)) for _ in range(100)]
before = resident()
kept += [DataKey(os.urandom(32)) for _ in range(4000)]
print((resident() - before) / 4000)
"""
    told = subprocess.run([sys.executable, "-c", grown], stdout=subprocess.PIPE, check=True, text=True)
    assert float(told.stdout) < READY_KEY_BYTES


def test_all_keys_that_a_process_remembers_take_less_than_32_mb() -> None:
    assert READY_KEYS * READY_KEY_BYTES + WRAPPED_KEYS * WRAPPED_KEY_BYTES < 32 * MEGABYTE


def test_the_newest_versions_of_streams_take_less_than_16_mb_however_many_were_written() -> None:
    def written() -> LogWriter:
        log = LogWriter(None, [0], lambda: 0)
        for first in range(0, 60_000, 1_000):
            log._remember({(0, an_id(number)): 1_000 + number for number in range(first, first + 1_000)})
        return log

    bytes_taken, log = taken(written)
    assert len(log._newest) == KNOWN_STREAMS
    assert bytes_taken < 16 * MEGABYTE


def test_a_text_whose_normal_form_is_kept_takes_no_more_than_300_bytes() -> None:
    some = 2_000

    def normalised() -> None:
        for number in range(some):
            identifiers.normalise("email", f"somebody-{number}@example.com")

    identifiers.forget_normalised()
    bytes_taken, _ = taken(normalised)
    identifiers.forget_normalised()
    assert bytes_taken < some * 300
