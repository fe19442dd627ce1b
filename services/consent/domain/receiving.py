"""What follows of a signal that was received: it is kept, and decides what the mapping says. Pure."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from services.consent.domain.definitions import CLOCK_TOLERANCE, check_name, instant_given
from services.consent.domain.ledger import MAX_METHOD, Ledger, RecordDecision, check_method, decided_about, record_decision
from services.consent.domain.ready import SIGNALS
from services.consent.domain.signals.gpp import GppString
from services.consent.domain.signals.mapping import ProposedDecision, Said, read_mapping
from services.consent.domain.signals.plain import CategoryPreferences, GpcHeader, SmsReply, UspString
from services.consent.domain.signals.proposing import AnySignal, propose
from services.consent.domain.signals.signal import Sealed, check_length, malformed
from services.consent.domain.signals.tcf import CanadianTcString, TcString
from shared.consent_conditions import GRANTS
from shared.errors import InvalidInput
from shared.events.consent import DecisionRecorded, LegalBasis, Outcome
from shared.events.signals import MappingDefined, SignalKind, SignalReceived
from shared.ids import NewId
from shared.request_ids import check_request_id, reused


def _preferences(text: str) -> CategoryPreferences:
    """To the letter what was sent, also where it is JSON. Raises InvalidInput (SIGNAL_TOO_LONG, SIGNAL_MALFORMED)."""
    check_length(text)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise malformed("preferences are JSON") from None
    return msgspec.structs.replace(CategoryPreferences.decode(value), raw=text)


DECODERS: Final[dict[SignalKind, Callable[[str], AnySignal]]] = {
    "tcf": TcString.decode,
    "tcf_canada": CanadianTcString.decode,
    "gpp": GppString.decode,
    "usp": UspString.decode,
    "gpc": GpcHeader.decode,
    "sms": SmsReply.decode,
    "category_preferences": _preferences,
}


class ReceiveSignal(Sealed, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, SIGNAL_MAPPING_UNKNOWN, METHOD_INVALID, SIGNAL_SOURCE_INVALID)."""

    request_id: str
    identifier_hash: bytes
    namespace: str
    kind: SignalKind
    text: str
    happened_at: int | None = None  # None: now
    source: str = ""
    method: str = ""
    mapping: str = SIGNALS

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_name("mapping", self.mapping)
        check_method(self.method)
        if len(self.source) > MAX_METHOD or not self.source.isprintable():
            raise InvalidInput(f"a source is at most {MAX_METHOD} printable characters", reason="SIGNAL_SOURCE_INVALID")

    def decoded(self) -> AnySignal:
        """Raises InvalidInput (SIGNAL_TOO_LONG, SIGNAL_MALFORMED, SIGNAL_TRUNCATED, SIGNAL_VERSION_UNKNOWN)."""
        return DECODERS[self.kind](self.text)


class Received(msgspec.Struct, frozen=True):
    """`signal_id` names the signal in its decisions."""

    signal_id: bytes
    signal: SignalReceived
    decisions: list[DecisionRecorded]


def mapping_at(versions: Iterable[MappingDefined], happened_at: int) -> MappingDefined:
    """The version that was in force when the signal was given; the first where none was yet."""
    by_version = sorted(versions, key=lambda one: one.version)
    in_force = [one for one in by_version if one.in_force_at <= happened_at]
    return in_force[-1] if in_force else by_version[0]


def receive(
    ledger: Ledger, versions: Iterable[MappingDefined], command: ReceiveSignal, text_hash: bytes, now: int, new_id: NewId
) -> Received:
    """`ledger` has the purposes that the mapping names, all versions. `now` is later than all that was recorded before.

    Raises InvalidInput (INSTANT_IN_FUTURE, INSTANT_INVALID) and what `decoded` does; then nothing is kept.
    """
    happened_at = instant_given(command.happened_at, now)
    mapping = mapping_at(versions, happened_at)
    proposals = propose(command.decoded(), read_mapping(mapping.document))
    signal_id, decisions, idle = new_id(), [], []
    for proposed in proposals.decisions:
        basis = decided_about(ledger, proposed.purpose, happened_at).legal_basis
        try:
            [decision] = record_decision(ledger, _decision(command, proposed, basis, happened_at, signal_id), now, new_id)
        except InvalidInput as unfit:  # nobody decides about the purpose, or not for such an identifier: the signal is kept
            idle.append(f"{proposed.because}: {proposed.purpose}: {unfit.reason}")
        else:
            decisions.append(msgspec.structs.replace(decision, signal_id=signal_id, because=proposed.because))
    signal = SignalReceived(
        request_id=command.request_id,
        identifier_hash=command.identifier_hash,
        namespace=command.namespace,
        kind=command.kind,
        decoder=proposals.evidence.decoder,
        decoder_version=proposals.evidence.decoder_version,
        mapping=mapping.name,
        mapping_version=mapping.version,
        happened_at=happened_at,
        text_hash=text_hash,
        source=command.source,
        method=command.method,
        unread=(*proposals.unread, *idle),
    )
    return Received(signal_id, signal, decisions)


def check_repeated(command: ReceiveSignal, text_hash: bytes, earlier: SignalReceived) -> None:
    """Without an instant it was "now" at the first try. Raises Conflict (REQUEST_ID_REUSED)."""
    ahead = 0 if command.happened_at is None else command.happened_at - earlier.happened_at
    ours = (command.identifier_hash, command.kind, command.source, command.method, command.mapping, text_hash)
    theirs = (earlier.identifier_hash, earlier.kind, earlier.source, earlier.method, earlier.mapping, earlier.text_hash)
    if ours != theirs or not 0 <= ahead <= CLOCK_TOLERANCE:
        raise reused()


def outcome_of(said: Said, basis: LegalBasis) -> Outcome:
    """Who opts in to what asks for consent grants it, and who grants what asks for none opts in."""
    if said in GRANTS:
        return "granted" if basis == "consent" else "opted_in"
    return said


def _decision(
    command: ReceiveSignal, proposed: ProposedDecision, basis: LegalBasis, happened_at: int, signal_id: bytes
) -> RecordDecision:
    return RecordDecision(
        request_id=f"{signal_id.hex()}:{proposed.purpose}",
        identifier_hash=command.identifier_hash,
        namespace=command.namespace,
        purpose=proposed.purpose,
        outcome=outcome_of(proposed.said, basis),
        decided_at=happened_at,
        method=command.method or command.kind,
    )
