"""Requests and answers in the form of OpenDSR 2.0, and what they are with us. Pure."""

import base64
import uuid
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from services.consent.answering import Case
from services.consent.domain.rights import RightsRequest, State
from services.consent.domain.rights_commands import Receive
from services.consent.http.opendsr_file import Controller
from shared.errors import InvalidInput
from shared.identifiers import EMAIL_SHA256, name_and_hash
from shared.instants import to_iso

API_VERSION: Final = "2.0"
MOST_CALLBACKS: Final = 5
MOST_URL: Final = 500  # characters
# By type and format, the namespace that it has with us.
IDENTITIES: Final = {
    ("email", "raw"): "email",
    ("email", "sha256"): EMAIL_SHA256,
    ("controller_customer_id", "raw"): "user_id",
    ("ios_vendor_id", "raw"): "ios.id",
    ("ios_advertising_id", "raw"): "ios.idfa",
    ("android_id", "raw"): "android.id",
    ("android_advertising_id", "raw"): "android.idfa",
}
STATUSES: Final[dict[State, str]] = {
    "received": "pending",
    "verified": "pending",
    "begun": "in_progress",
    "fulfilled": "completed",
    "refused": "cancelled",
    "withdrawn": "cancelled",
}


class Identity(msgspec.Struct, frozen=True):
    identity_type: str
    identity_value: str
    identity_format: str

    def __repr__(self) -> str:
        return "<Identity sealed>"


class SubjectRequest(msgspec.Struct, frozen=True):
    """Extensions and what else there may be are not looked at."""

    regulation: Literal["gdpr", "ccpa"]
    subject_request_id: str
    subject_request_type: Literal["access", "portability", "erasure"]
    submitted_time: datetime
    subject_identities: tuple[Identity, ...]
    status_callback_urls: tuple[str, ...] = ()


_decode = msgspec.json.Decoder(SubjectRequest).decode


def command_of(body: bytes, controller: Controller, calendar: str, lookup_key: bytes) -> Receive:
    """Raises InvalidInput (OPENDSR_INVALID, IDENTIFIER_INVALID)."""
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("the body is no request of OpenDSR 2.0") from None
    if len(asked.subject_identities) != 1:
        raise _invalid("a request is about one identity")
    identity = asked.subject_identities[0]
    namespace = IDENTITIES.get((identity.identity_type, identity.identity_format))
    if namespace is None:
        raise _invalid("this type and format of identity is not taken; /v2/discovery lists those that are")
    urls = asked.status_callback_urls
    if len(urls) > MOST_CALLBACKS or not all(len(url) <= MOST_URL and controller.may_be_told_at(url) for url in urls):
        raise _invalid(f"at most {MOST_CALLBACKS} callbacks, each below an address that was agreed on")
    named, value_hash = name_and_hash(namespace, identity.identity_value, lookup_key)
    return Receive(
        request_id=request_id_of(controller, asked.subject_request_id),
        by=controller.controller_id,
        reason="handed over as OpenDSR has it",
        identifier_hash=value_hash,
        namespace=named,
        right=asked.subject_request_type,
        law=asked.regulation,
        calendar=calendar,
        received_on=asked.submitted_time.date(),
        callback_urls=urls,
    )


def request_id_of(controller: Controller, subject_request_id: str) -> str:
    """Each controller has ids of its own. Raises InvalidInput (OPENDSR_INVALID)."""
    try:
        return f"opendsr:{controller.controller_id}:{uuid.UUID(subject_request_id)}"
    except ValueError:
        raise _invalid("a subject_request_id is a UUID") from None


def discovery(certificate: str) -> dict[str, Any]:
    return {
        "api_version": API_VERSION,
        "supported_identities": [{"identity_type": kind, "identity_format": form} for kind, form in IDENTITIES],
        "supported_subject_request_types": ["access", "portability", "erasure"],
        "processor_certificate": certificate,
    }


def taken(case: Case, body: bytes) -> dict[str, Any]:
    return {
        **_about(case.standing.request),
        "received_time": to_iso(case.steps[0].recorded_at),
        "encoded_request": base64.b64encode(body).decode(),
    }


def status(request: RightsRequest) -> dict[str, Any]:
    return {**_about(request), "request_status": STATUSES[request.state], "api_version": API_VERSION}


def cancelled(case: Case) -> dict[str, Any]:
    about = _about(case.standing.request)
    del about["expected_completion_time"]
    return {**about, "received_time": to_iso(case.steps[-1].recorded_at), "api_version": API_VERSION}


def callback(request: RightsRequest, url: str) -> dict[str, Any]:
    return {**_about(request), "request_status": STATUSES[request.state], "status_callback_url": url}


def _about(request: RightsRequest) -> dict[str, Any]:
    _, controller, subject_request_id = request.received.request_id.split(":")
    return {
        "controller_id": controller,
        "subject_request_id": subject_request_id,
        "expected_completion_time": f"{request.due_on}T23:59:59Z",
    }


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, reason="OPENDSR_INVALID")
