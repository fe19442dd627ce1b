"""Purposes between the protos and the events, both ways."""

from typing import Final

from c360.consent.v1 import registry_pb2 as pb

from services.consent.api.restriction_words import EXCEPTIONS, exception
from services.consent.views import MOST_VERSIONS
from shared.errors import InvalidInput
from shared.events.consent import LegalBasis, MaskClass, PurposeDefined, Scope

LEGAL_BASES: Final[dict[LegalBasis, pb.LegalBasis.ValueType]] = {
    "consent": pb.LEGAL_BASIS_CONSENT,
    "contract": pb.LEGAL_BASIS_CONTRACT,
    "legal_obligation": pb.LEGAL_BASIS_LEGAL_OBLIGATION,
    "legitimate_interest": pb.LEGAL_BASIS_LEGITIMATE_INTEREST,
}
SCOPES: Final[dict[Scope, pb.Scope.ValueType]] = {
    "person": pb.SCOPE_PERSON,
    "contact_point": pb.SCOPE_CONTACT_POINT,
    "identifier": pb.SCOPE_IDENTIFIER,
}
MASKS: Final[dict[MaskClass, pb.Masking.ValueType]] = {
    "partial": pb.MASKING_PARTIAL,
    "tokenised": pb.MASKING_TOKENISED,
    "generalised": pb.MASKING_GENERALISED,
    "absent": pb.MASKING_ABSENT,
}
MASK_NAMES: Final = {value: name for name, value in MASKS.items()}
SCOPE_NAMES: Final = {value: name for name, value in SCOPES.items()}
LEGAL_BASIS_NAMES: Final = {value: name for name, value in LEGAL_BASES.items()}


def to_purpose(request_id: str, asked: pb.Definition) -> PurposeDefined:
    """Raises InvalidInput (LEGAL_BASIS_MISSING, PURPOSE_INVALID)."""
    purpose = asked.purpose
    return PurposeDefined(
        request_id=request_id,
        name=asked.name,
        version=0,
        description=purpose.description,
        legal_basis=_legal_basis(purpose.legal_basis),
        traits=tuple(purpose.traits),
        controller=purpose.controller,
        legal_bases={place: _legal_basis(basis) for place, basis in sorted(purpose.legal_bases.items())},
        double_opt_in=purpose.double_opt_in,
        minimum_age=purpose.minimum_age,
        minors_under=purpose.minors_under,
        minors_opt_in_from=purpose.minors_opt_in_from,
        scope=_scope(purpose.scope),
        contact_points=tuple(purpose.contact_points),
        expires_after_days=purpose.expires_after_days,
        notice=purpose.notice,
        notice_version=min(purpose.notice_version, MOST_VERSIONS),
        ask_again_after_days=purpose.ask_again_after_days,
        masks={field: _mask(value) for field, value in sorted(purpose.masks.items())},
        dpv=tuple(purpose.dpv),
        data_uses=tuple(purpose.data_uses),
        data_categories=tuple(purpose.data_categories),
        retention=purpose.retention,
        recipients=tuple(purpose.recipients),
        despite_restriction=tuple(sorted(map(exception, purpose.despite_restriction))),
        defined_by=asked.defined_by,
        reason=asked.reason,
    )


def of_purpose(purpose: PurposeDefined) -> pb.Purpose:
    return pb.Purpose(
        description=purpose.description,
        legal_basis=LEGAL_BASES[purpose.legal_basis],
        traits=purpose.traits,
        controller=purpose.controller,
        legal_bases={place: LEGAL_BASES[basis] for place, basis in purpose.legal_bases.items()},
        double_opt_in=purpose.double_opt_in,
        minimum_age=purpose.minimum_age,
        minors_under=purpose.minors_under,
        minors_opt_in_from=purpose.minors_opt_in_from,
        scope=SCOPES[purpose.scope],
        contact_points=purpose.contact_points,
        expires_after_days=purpose.expires_after_days,
        notice=purpose.notice,
        notice_version=purpose.notice_version,
        ask_again_after_days=purpose.ask_again_after_days,
        masks={field: MASKS[mask] for field, mask in purpose.masks.items()},
        dpv=purpose.dpv,
        data_uses=purpose.data_uses,
        data_categories=purpose.data_categories,
        retention=purpose.retention,
        recipients=purpose.recipients,
        despite_restriction=[EXCEPTIONS[one] for one in purpose.despite_restriction],
    )


def _mask(value: pb.Masking.ValueType) -> MaskClass:
    if (name := MASK_NAMES.get(value)) is None:
        raise InvalidInput(f"a mask is one of {', '.join(MASKS)}", reason="PURPOSE_INVALID", field="masks")
    return name


def _legal_basis(value: pb.LegalBasis.ValueType) -> LegalBasis:
    if (name := LEGAL_BASIS_NAMES.get(value)) is None:
        raise InvalidInput("a purpose stands on a legal basis", reason="LEGAL_BASIS_MISSING")
    return name


def _scope(value: pb.Scope.ValueType) -> Scope:
    """What a newer release's caller may send, and this one doesn't know, is refused."""
    if value == pb.SCOPE_UNSPECIFIED:
        return "person"
    if (name := SCOPE_NAMES.get(value)) is None:
        raise InvalidInput(
            "decisions count for the person, a contact point or an identifier", reason="PURPOSE_INVALID", field="scope"
        )
    return name
