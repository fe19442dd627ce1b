"""The states that a purpose is in for a person, and the reasons by which each is told."""

from typing import Final, Literal

State = Literal[
    "DEFAULT_ALLOWED",
    "GRANTED",
    "OPTED_IN",
    "UNKNOWN",
    "PENDING",
    "LAPSED",
    "MINOR",
    "REFUSED",
    "WITHDRAWN",
    "OBJECTED",
    "OPTED_OUT",
    "LIMITED",
    "CONFLICT",
    "EXPIRED",
    "STALE",
    "RESTRICTED",
]
STATES: Final[dict[str, State]] = {  # by reason
    "CONTRACT": "DEFAULT_ALLOWED",
    "LEGAL_OBLIGATION": "DEFAULT_ALLOWED",
    "LEGITIMATE_INTEREST": "DEFAULT_ALLOWED",
    "CONSENT_GRANTED": "GRANTED",
    "OPTED_IN": "OPTED_IN",
    "CONSENT_MISSING": "UNKNOWN",
    "CONSENT_UNCONFIRMED": "PENDING",
    "CONSENT_LAPSED": "LAPSED",
    "AGE_NOT_ATTESTED": "MINOR",
    "CONSENT_REFUSED": "REFUSED",
    "CONSENT_WITHDRAWN": "WITHDRAWN",
    "OBJECTED": "OBJECTED",
    "OPTED_OUT": "OPTED_OUT",
    "LIMITED": "LIMITED",
    "CONSENT_CONFLICT": "CONFLICT",
    "CONSENT_EXPIRED": "EXPIRED",
    "CONSENT_STALE": "STALE",
    "RESTRICTED": "RESTRICTED",
}
