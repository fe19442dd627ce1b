"""What fulfils a rights request: each right's act, and what of it is kept as evidence.

An act is done by the services that own the data, under request ids that follow from the rights request's; so a command that is
repeated after it was interrupted goes on, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import typer

from services.cli import paging, render, rights_calls
from services.cli.client import connect
from services.cli.consent_restricting import Ground, restrict_processing
from services.cli.errors import Misused, NotReachable, Queued, Refused
from services.cli.evidence import hash_of
from services.cli.notation import NamedIdentifier
from services.cli.whole_files import whole

if TYPE_CHECKING:
    from c360.consent.v1 import rights_pb2
    from c360.identity.v1 import identity_pb2

MOST_PURPOSES: Final = 500  # more than anybody defines
FORBIDS: Final = {"objection": "OUTCOME_OBJECTED", "restriction": "OUTCOME_LIMITED"}


class Doing(NamedTuple):
    """What the command was told."""

    by: str
    reason: str
    proof: Path | None
    references: list[str]
    identifier: NamedIdentifier | None
    purposes: list[str]
    out: Path | None
    yes: bool
    grounds: list[Ground]
    timeout_s: float


def act(found: rights_pb2.RightsRequest, doing: Doing) -> dict[str, Any]:
    """Begins what was asked for and does it; the fields of `Fulfilled`."""
    from c360.consent.v1 import rights_pb2

    right = rights_pb2.Right.Name(found.right).removeprefix("RIGHT_").lower()
    match right:
        case "erasure":
            _confirm(doing)
            _begin(found, doing)
            return _erase(found, doing)
        case "objection" | "restriction":
            whole = right == "restriction" and found.law != rights_pb2.LAW_CCPA and not doing.purposes
            if whole and not doing.grounds:
                raise Misused(
                    "GROUND_MISSING", "say on which ground of GDPR Art. 18(1): --ground, or which purposes to limit: --purpose"
                )
            _require_own(found, doing)
            _begin(found, doing)
            return {"references": [_restrict(found, doing)] if whole else _forbid(found, right, doing)}
        case "rectification":
            if not doing.references:
                raise Misused("REFERENCE_MISSING", "name the event that corrects it: --reference MESSAGE_ID")
            _begin(found, doing)
            return {"references": doing.references}
        case _:
            if doing.proof is None:
                raise Misused("PROOF_MISSING", "give the file that was handed over: --proof FILE; `c360 rights report` writes it")
            proof = hash_of(doing.proof)
            _begin(found, doing)
            return {"references": doing.references or [doing.proof.name], "proof_sha256": proof}


def _begin(found: rights_pb2.RightsRequest, doing: Doing) -> None:
    from c360.consent.v1 import rights_pb2

    if found.state != rights_pb2.RIGHTS_STATE_BEGUN:
        rights_calls.take(
            found.rights_request_id, doing.by, doing.reason, f"{found.rights_request_id}:begun", doing.timeout_s, begun={}
        )


def _confirm(doing: Doing) -> None:
    if not doing.yes and not typer.confirm("This can't be undone. Erase?", err=True):
        raise Misused("NOT_CONFIRMED", "nothing was erased")
    if doing.out is not None and doing.out.exists():
        raise Misused("OUTPUT_NOT_WRITTEN", f"{doing.out} exists; nothing was erased")


def _erase(found: rights_pb2.RightsRequest, doing: Doing) -> dict[str, Any]:
    """The customer who had the identifier when the request was begun; once asked for, the erasure says itself whom."""
    erased = _erasure(found, doing)
    see = f"see `c360 customer erasure {erased.request_id}`, and repeat this command then"
    if erased.hold_ids and not erased.certificate:
        raise Queued("QUEUED", f"queued by a legal hold: nothing is erased; {see}")
    if not erased.certificate:
        raise NotReachable("NOT_YET_ERASED", f"it goes on by itself; {see}")
    certificate = erased.certificate.encode()
    if doing.out is not None:
        with whole(doing.out) as file:
            file.write(certificate)
        render.note(f"certificate saved in {doing.out}")
    return {"references": [erased.request_id], "proof_sha256": hashlib.sha256(certificate).hexdigest()}


def _erasure(found: rights_pb2.RightsRequest, doing: Doing) -> identity_pb2.Erasure:
    from c360.common.v1 import common_pb2
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    request_id = f"{found.rights_request_id}:erasure"
    if (earlier := _asked_before(request_id, doing.timeout_s)) is not None:
        return earlier
    if not found.customer_id:
        raise Refused("IDENTIFIER_UNKNOWN", "nobody has this identifier: refuse the request, with no-data as the ground")
    request = identity_pb2.EraseCustomerRequest(
        request_id=request_id,
        customer=common_pb2.CustomerRef(customer_id=found.customer_id),
        policy=identity_pb2.REIMPORT_POLICY_REFUSE,
        reason=doing.reason,
        requested_by=doing.by,
    )
    with connect("identity") as channel:
        return identity_pb2_grpc.IdentityServiceStub(channel).EraseCustomer(request, timeout=doing.timeout_s).erasure


def _asked_before(request_id: str, timeout_s: float) -> identity_pb2.Erasure | None:
    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    request = identity_pb2.GetErasureRequest(request_id=request_id)
    try:
        with connect("identity") as channel:
            return identity_pb2_grpc.IdentityServiceStub(channel).GetErasure(request, timeout=timeout_s).erasure
    except Refused as refused:
        if refused.reason == "ERASURE_UNKNOWN":
            return None
        raise


def _require_own(found: rights_pb2.RightsRequest, doing: Doing) -> None:
    """Decisions are bound to an identifier, of which consent has the hash alone."""
    from c360.consent.v1 import rights_pb2, rights_pb2_grpc

    from services.cli import messages

    if doing.identifier is None:
        raise Misused("IDENTIFIER_MISSING", "say who decides: --identifier, the one that the request names")
    own = rights_pb2.ListRightsRequestsRequest(identifier=messages.identifier(doing.identifier), right=found.right)
    with connect("consent") as channel:
        call = rights_pb2_grpc.RightsServiceStub(channel).ListRightsRequests
        listed = paging.entries(call, own, "requests", MOST_PURPOSES, doing.timeout_s)
        if all(one.rights_request_id != found.rights_request_id for one in listed):
            raise Misused("IDENTIFIER_DOES_NOT_FIT", "the request names another identifier, or is closed")


def _restrict(found: rights_pb2.RightsRequest, doing: Doing) -> str:
    """The restriction's id."""
    from services.cli import messages

    assert doing.identifier is not None, "it was required"
    named = messages.identifier(doing.identifier)
    request_id = f"{found.rights_request_id}:restricted"
    restricted: str = restrict_processing(request_id, named, doing.grounds, doing.by, doing.reason, doing.timeout_s).restriction_id
    return restricted


def _forbid(found: rights_pb2.RightsRequest, right: str, doing: Doing) -> list[str]:
    """The ids of the decisions, one for each purpose."""
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc

    from services.cli import messages

    assert doing.identifier is not None, "it was required"
    with connect("consent") as channel:
        purposes = doing.purposes or _decidable(channel, doing.timeout_s)
        stub = consent_pb2_grpc.ConsentServiceStub(channel)
        requests = [
            consent_pb2.RecordDecisionRequest(
                request_id=f"{found.rights_request_id}:{number}",
                identifier=messages.identifier(doing.identifier),
                purpose=purpose,
                outcome=consent_pb2.Outcome.Value(FORBIDS[right]),
                method="rights-request",
            )
            for number, purpose in enumerate(sorted(set(purposes)))
        ]
        return [stub.RecordDecision(request, timeout=doing.timeout_s).decision_id for request in requests]


def _decidable(channel: Any, timeout_s: float) -> list[str]:
    """Purposes that people decide about, by their newest versions."""
    from c360.consent.v1 import registry_pb2, registry_pb2_grpc

    decidable = (registry_pb2.LEGAL_BASIS_CONSENT, registry_pb2.LEGAL_BASIS_LEGITIMATE_INTEREST)
    request = registry_pb2.ListDefinitionsRequest(kind=registry_pb2.DEFINITION_KIND_PURPOSE)
    call = registry_pb2_grpc.RegistryServiceStub(channel).ListDefinitions
    listed = paging.entries(call, request, "definitions", MOST_PURPOSES, timeout_s)
    return [one.name for one in listed if one.purpose.legal_basis in decidable]
