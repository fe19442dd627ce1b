"""What browsers, consent platforms and phones said of a person's choice, and by which mapping it decided about our purposes.

A signal stands in the stream of its identifier's decisions, right ahead of those that follow from it. What was sent is sealed under
the evidence key (`shared/evidence_key.py`), not under a customer's: like the decisions it outlives an erasure.
"""

from typing import Literal

from shared.events.catalogue import Public, register
from shared.privacy import Personal

OWNER = "consent"
FOLLOWERS: tuple[str, ...] = ()

SignalKind = Literal["tcf", "tcf_canada", "gpp", "usp", "gpc", "sms", "category_preferences"]


class MappingDefined(Public, frozen=True, kw_only=True):
    """Which of our purposes a signal decides; a change is a new version of the mapping."""

    request_id: str
    name: str
    version: int
    document: str  # JSON (docs/consent-registry.md)
    defined_by: str = ""
    reason: str = ""
    in_force_at: int = 0


class SignalReceived(Public, frozen=True, kw_only=True):
    """What came in, of which identifier (its keyed hash), who decoded it, and which version of which mapping it was read by."""

    request_id: str
    identifier_hash: bytes
    namespace: str
    kind: SignalKind
    decoder: str
    decoder_version: int
    mapping: str
    mapping_version: int
    happened_at: int
    text_hash: bytes  # keyed, of what was sent: tells equal ones without opening them
    source: str = ""  # which site, app or system it came from
    method: str = ""  # how it was captured
    unread: tuple[str, ...] = ()  # what of it decided nothing, and why: "usca: SIGNAL_MALFORMED"


class SignalText(Personal, frozen=True, kw_only=True):
    """What was sent, to the letter: it is decoded anew whenever its decoder is corrected."""

    text: str


MAPPING_DEFINED = register("consent.mapping_defined", 1, MappingDefined)
SIGNAL_RECEIVED = register("consent.signal_received", 1, SignalReceived, SignalText)
