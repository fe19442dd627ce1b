"""What became of a person's request about their data: to see it, take it along, have it corrected or erased, limit or end its use.

Each request has a stream of its own, and every step says who took it and why. None of this is personal: the person is named by the
keyed hash of an identifier, and who writes a reason is told to name nobody in it. Days are ISO 8601 (2026-03-05), for the laws count by them;
they stay what they were when the laws or the public holidays that we know of change.
"""

from typing import Literal

from shared.events.catalogue import Public, register

OWNER = "consent"
FOLLOWERS: tuple[str, ...] = ()

Right = Literal["access", "portability", "rectification", "erasure", "restriction", "objection"]
Law = Literal["gdpr", "uk_gdpr", "ccpa"]
Ground = Literal[
    "identity_not_proven",
    "manifestly_unfounded",
    "excessive",
    "legal_obligation",
    "legal_claims",
    "public_interest",
    "freedom_of_expression",
    "rights_of_others",
    "right_not_given",
    "no_data",
]


class RightsRequestReceived(Public, frozen=True, kw_only=True):
    """Somebody asks; the terms run from here, whether or not we know yet that it is the person."""

    request_id: str
    identifier_hash: bytes
    namespace: str
    right: Right
    law: Law
    calendar: str  # whose public holidays count: ISO 3166 such as DE or US-CA; empty: Saturdays and Sundays alone are off
    received_on: str
    due_on: str  # the last day to answer
    longest_on: str  # the last day to which that may be extended
    acknowledge_by: str = ""  # the last day to confirm that it came; empty: the law doesn't ask for it
    duplicate_of: bytes = b""  # another one of the same identifier and right that was open; this one is checked like any other
    by: str = ""
    reason: str = ""  # how it came
    callback_urls: tuple[str, ...] = ()  # where whoever handed it over is told what becomes of it (OpenDSR)


class RightsRequestAcknowledged(Public, frozen=True, kw_only=True):
    """The requester was told that it came."""

    request_id: str
    told_on: str
    by: str = ""
    reason: str = ""


class RightsRequestIdentityChecked(Public, frozen=True, kw_only=True):
    """Whether the requester is the person, as the last check found."""

    request_id: str
    passed: bool
    method: str  # such as signed-in, or link-to-the-address
    by: str = ""
    reason: str = ""


class RightsRequestExtended(Public, frozen=True, kw_only=True):
    """It takes longer; the requester was told why, within the first term."""

    request_id: str
    told_on: str
    due_on: str
    by: str = ""
    reason: str = ""


class RightsRequestBegun(Public, frozen=True, kw_only=True):
    """What was asked for is being done: from here on it can't be withdrawn."""

    request_id: str
    by: str = ""
    reason: str = ""


class RightsRequestFulfilled(Public, frozen=True, kw_only=True):
    """It was done."""

    request_id: str
    references: tuple[str, ...]  # ids of what did it: an erasure's request, decisions, a correcting event's message
    proof_sha256: bytes = b""  # of what was handed over: the report, or the certificate of the erasure
    by: str = ""
    reason: str = ""


class RightsRequestRefused(Public, frozen=True, kw_only=True):
    """It won't be done, or no more than was, on a ground that the law knows."""

    request_id: str
    ground: Ground
    by: str = ""
    reason: str = ""


class RightsRequestWithdrawn(Public, frozen=True, kw_only=True):
    """The requester took it back."""

    request_id: str
    by: str = ""
    reason: str = ""


RECEIVED = register("rights_request.received", 1, RightsRequestReceived)
ACKNOWLEDGED = register("rights_request.acknowledged", 1, RightsRequestAcknowledged)
IDENTITY_CHECKED = register("rights_request.identity_checked", 1, RightsRequestIdentityChecked)
EXTENDED = register("rights_request.extended", 1, RightsRequestExtended)
BEGUN = register("rights_request.begun", 1, RightsRequestBegun)
FULFILLED = register("rights_request.fulfilled", 1, RightsRequestFulfilled)
REFUSED = register("rights_request.refused", 1, RightsRequestRefused)
WITHDRAWN = register("rights_request.withdrawn", 1, RightsRequestWithdrawn)
