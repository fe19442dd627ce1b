"""Snapshots and kept states are trusted by the version of the fold: a fold that gives something else needs another version."""

import hashlib

import msgspec

from services.profile.domain.fold import evolve
from services.profile.domain.rules import FOLD_VERSION, PLAIN
from services.profile.domain.state import State
from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, Public, make_entry
from shared.ids import derived_id
from shared.privacy import Personal
from shared.vault import DataKey

KEY = DataKey(b"k" * 32)
STREAM = derived_id(b"stream")
# Add a line with the new hash when this fails, and raise FOLD_VERSION in services/profile/domain/rules.py.
FOLDS = {
    1: "65aa7f95211a6ec5cd1e24f7b4a6ac4f18ca6273ee7ab36d51a56a0e9f0bb1a4",
    2: "a3fac2702a53c2e8b6e7c89fa07cb775b9b09e779b292fd319ac3a5a726cd7d1",
    3: "a4103ac31f8d874dad5975a206c76cbaf1f017601d5d8b2e08412714ec96709f",
    4: "52f6cf7f63d775c0a6cd03b7b2219a54aa3675831e20c372ffa1cf824fbba228",
    5: "0c56756831b24de5e3d2e2dae3db81425aefe3c9051cc6ef83e009d8018a5964",
    6: "0c56756831b24de5e3d2e2dae3db81425aefe3c9051cc6ef83e009d8018a5964",  # of few traits the same
    7: "0c56756831b24de5e3d2e2dae3db81425aefe3c9051cc6ef83e009d8018a5964",  # without large values the same
    8: "0c56756831b24de5e3d2e2dae3db81425aefe3c9051cc6ef83e009d8018a5964",  # without matches the same
}


def event(number: int, kind: EventType, public: Public, personal: Personal | None = None) -> Entry:
    return make_entry(kind, STREAM, derived_id(b"event", bytes([number])), number * 10, public, personal, KEY)


def activity(source: str) -> events.Activity:
    return events.Activity(source=source, resolved_by=b"h" * 16, also_named=(b"v",), received_at=5)


HISTORY = [
    event(0, events.FOUNDED, events.CustomerFounded(founding_number=3)),
    event(
        1, events.LINKED, events.IdentifierLinked(namespace="email", value_hash=b"v", cause=b""), events.LinkedValue(value="a@b.c")
    ),
    event(5, events.IDENTIFIED, activity("web"), events.Identified(traits={"city": "Kiel", "tier": 1, "gone": None})),
    event(4, events.IDENTIFIED, activity("app"), events.Identified(traits={"city": "Bremen", "tags": ["a", {"b": 1.5}]})),
    event(6, events.TRACKED, activity("web"), events.Tracked(name="Order Completed")),
    event(7, events.MERGED, events.CustomersMerged(merge_id=b"m", other=b"o", other_founding_number=4, cause=b"")),
    event(8, events.SPLIT, events.CustomersSplit(merge_id=b"m", other=b"o", cause=b"")),
]


def test_the_fold_gives_what_its_version_promises() -> None:
    state = State()
    for entry in HISTORY:
        evolve(state, entry, entry.public(), entry.personal(KEY), PLAIN)
    encoded = msgspec.msgpack.encode(state)
    assert FOLDS[FOLD_VERSION] == hashlib.sha256(encoded).hexdigest()
