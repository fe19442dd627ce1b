"""Laws of what follows of a signal: whatever is sent, it is kept with what it decides, or refused and nothing is."""

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.ledger import Ledger, fold
from services.consent.domain.receiving import DECODERS, ReceiveSignal, check_repeated, mapping_at, receive
from services.consent.domain.signals.mapping import DENIALS, SignalMapping, read_mapping
from services.consent.domain.signals.proposing import propose
from shared.consent_conditions import GRANTS
from shared.errors import Conflict, InvalidInput
from shared.events.consent import LegalBasis, PurposeDefined, Scope
from shared.events.signals import MappingDefined, SignalKind
from shared.evidence_key import EvidenceKey
from tests.properties.test_signal_mapping import MAPPINGS
from tests.unit.test_gpp import STATES
from tests.unit.test_tcf import CANADIAN, WITH_PUBLISHER

NOW = 1_750_000_000_000_000
KEY = EvidenceKey(b"k" * 32)
KINDS: list[SignalKind] = list(DECODERS)
REASONS = {"SIGNAL_TOO_LONG", "SIGNAL_MALFORMED", "SIGNAL_TRUNCATED", "SIGNAL_VERSION_UNKNOWN"}
TEXTS = st.sampled_from(
    (
        *("1", "0", "1YYN", "1NNN", "STOP", "start", "call me", "[]", WITH_PUBLISHER, CANADIAN, *STATES),
        *('{"Advertising": false}', '{"Advertising": true, "Analytics": true}'),
    )
)
BASES: list[LegalBasis] = ["consent", "legitimate_interest", "contract"]
SCOPES: list[Scope] = ["person", "contact_point"]


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    return fold(
        PurposeDefined(
            request_id=name,
            name=name,
            version=1,
            description="",
            legal_basis=draw(st.sampled_from(BASES)),
            traits=(),
            scope=(scope := draw(st.sampled_from(SCOPES))),
            contact_points=("email",) if scope == "contact_point" else (),
        )
        for name in ("ads", "analytics", "newsletter")
    )


def a_signal(kind: SignalKind, text: str, request_id: str = "r") -> ReceiveSignal:
    return ReceiveSignal(request_id=request_id, identifier_hash=b"a" * 16, namespace="anonymous_id", kind=kind, text=text)


def a_mapping(mapping: SignalMapping, version: int = 1, in_force_at: int = 0) -> MappingDefined:
    document = msgspec.json.encode(mapping).decode()
    return MappingDefined(request_id="m", name="signals", version=version, document=document, in_force_at=in_force_at)


def refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except InvalidInput as refused:
        return refused.reason
    return None


@given(ledgers(), MAPPINGS, st.sampled_from(KINDS), TEXTS | st.text(max_size=40))
def test_a_signal_decides_what_its_mapping_proposes_or_is_refused(
    ledger: Ledger, mapping: SignalMapping, kind: SignalKind, text: str
) -> None:
    command, ids = a_signal(kind, text), iter(range(256))
    if (refused := refusal(command.decoded)) is not None:
        assert refused in REASONS
        assert refusal(lambda: receive(ledger, [a_mapping(mapping)], command, KEY.hash_of(text), NOW, lambda: b"i" * 16)) == refused
        return
    signal = command.decoded()
    assert signal.raw == text, "to the letter"
    received = receive(ledger, [a_mapping(mapping)], command, KEY.hash_of(text), NOW, lambda: bytes([next(ids)]) * 16)
    proposed = {one.purpose: one for one in propose(signal, mapping).decisions}
    idle = {line.split(": ")[1] for line in received.signal.unread if line.endswith(("NOTHING_TO_DECIDE", "NO_CONTACT_POINT"))}
    assert {one.purpose for one in received.decisions} | idle == proposed.keys(), "each is decided, or said not to be"
    for decision in received.decisions:
        said = proposed[decision.purpose]
        assert (decision.signal_id, decision.because) == (received.signal_id, said.because)
        assert (decision.outcome in GRANTS) == (said.said not in DENIALS), "no denial becomes a grant, nor a grant a denial"
        assert (decision.identifier_hash, decision.decided_at) == (command.identifier_hash, received.signal.happened_at)
    assert len({one.request_id for one in received.decisions}) == len(received.decisions)


@given(st.sampled_from(KINDS), TEXTS, st.sampled_from(KINDS), TEXTS)
def test_a_signal_repeated_is_the_same_and_another_is_told_apart(kind: SignalKind, text: str, other: SignalKind, said: str) -> None:
    received = receive(
        Ledger(), [a_mapping(SignalMapping())], a_signal("sms", text[:1000]), KEY.hash_of(text[:1000]), NOW, lambda: b"i" * 16
    ).signal
    kept = msgspec.structs.replace(received, kind=kind, text_hash=KEY.hash_of(text))
    check_repeated(a_signal(kind, text), KEY.hash_of(text), kept)
    if (other, said) != (kind, text):
        with pytest.raises(Conflict):
            check_repeated(a_signal(other, said), KEY.hash_of(said), kept)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4).map(sorted), st.integers(0, 9), st.randoms())
def test_a_signal_is_read_by_the_mapping_of_its_day(starts: list[int], happened_at: int, chance: random.Random) -> None:
    versions = [a_mapping(SignalMapping(), number, start) for number, start in enumerate(starts, 1)]
    chance.shuffle(versions)
    found = mapping_at(versions, happened_at)
    assert found.version == max([number for number, start in enumerate(starts, 1) if start <= happened_at], default=1)


@given(MAPPINGS)
def test_a_mapping_is_what_its_document_says(mapping: SignalMapping) -> None:
    assert read_mapping(msgspec.json.encode(mapping).decode()) == mapping


@given(st.text(max_size=60) | st.sampled_from(["{}x", "[]", '{"gpc": 1}', '{"gcp": []}', '{"gpc": ["A B"]}', "[" * 5000, "\ud800"]))
def test_any_document_is_a_mapping_or_refused(document: str) -> None:
    assert refusal(lambda: read_mapping(document)) in (None, "SIGNAL_MAPPING_INVALID")


def test_a_signal_prints_nothing_of_what_was_sent() -> None:
    assert "STOP" not in repr(a_signal("sms", "STOP"))
