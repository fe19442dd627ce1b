"""Definitions between the protos and the events, both ways."""

from typing import Final

from c360.consent.v1 import registry_pb2 as pb

from services.consent.api.restriction_words import EXCEPTIONS, exception
from services.consent.domain.definitions import Definition, Kind, notice_text
from services.consent.views import MOST_VERSIONS, Placed
from shared.errors import InvalidInput
from shared.events.callers import CallerDefined, Group, OverrideDefined
from shared.events.consent import ControllerDefined, LegalBasis, MaskClass, NoticeDefined, PurposeDefined, Scope
from shared.events.signals import MappingDefined
from shared.instants import to_timestamp
from shared.rpc.edge import instant

KINDS: Final[dict[pb.DefinitionKind.ValueType, Kind]] = {
    pb.DEFINITION_KIND_PURPOSE: "purpose",
    pb.DEFINITION_KIND_CONTROLLER: "controller",
    pb.DEFINITION_KIND_NOTICE: "notice",
    pb.DEFINITION_KIND_MAPPING: "mapping",
    pb.DEFINITION_KIND_CALLER: "caller",
    pb.DEFINITION_KIND_OVERRIDE: "override",
}
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
GROUPS: Final[dict[Group, pb.MethodGroup.ValueType]] = {
    "read": pb.METHOD_GROUP_READ,
    "export": pb.METHOD_GROUP_EXPORT,
    "decide": pb.METHOD_GROUP_DECIDE,
    "administer": pb.METHOD_GROUP_ADMINISTER,
    "audit": pb.METHOD_GROUP_AUDIT,
}
GROUP_NAMES: Final = {value: name for name, value in GROUPS.items()}
MASKS: Final[dict[MaskClass, pb.Masking.ValueType]] = {
    "partial": pb.MASKING_PARTIAL,
    "tokenised": pb.MASKING_TOKENISED,
    "generalised": pb.MASKING_GENERALISED,
    "absent": pb.MASKING_ABSENT,
}
MASK_NAMES: Final = {value: name for name, value in MASKS.items()}
SCOPE_NAMES: Final = {value: name for name, value in SCOPES.items()}
LEGAL_BASIS_NAMES: Final = {value: name for name, value in LEGAL_BASES.items()}


def to_definition(request_id: str, asked: pb.Definition) -> Definition:
    """Raises InvalidInput (DEFINITION_MISSING, LEGAL_BASIS_MISSING, NOTICE_INVALID, CALLER_INVALID)."""
    match asked.WhichOneof("content"):
        case "purpose":
            return _to_purpose(request_id, asked)
        case "controller":
            return _to_controller(request_id, asked)
        case "notice":
            return _to_notice(request_id, asked)
        case "mapping":
            return MappingDefined(
                request_id=request_id,
                name=asked.name,
                version=0,
                document=asked.mapping.document,
                defined_by=asked.defined_by,
                reason=asked.reason,
            )
        case "caller":
            return _to_caller(request_id, asked)
        case "override":
            return _to_override(request_id, asked)
    raise InvalidInput("say what to define: a purpose, a controller, a notice, a mapping or a caller", reason="DEFINITION_MISSING")


def to_message(placed: Placed[Definition], texts: bool = True) -> pb.Definition:
    event = placed.event
    message = pb.Definition(
        name=event.name,
        version=event.version,
        defined_by=event.defined_by,
        reason=event.reason,
        in_force_time=to_timestamp(event.in_force_at),
        record_time=to_timestamp(placed.recorded_at),
    )
    match event:
        case PurposeDefined():
            message.purpose.CopyFrom(_of_purpose(event))
        case ControllerDefined():
            message.controller.CopyFrom(_of_controller(event))
        case NoticeDefined():
            message.notice.CopyFrom(_of_notice(event, texts))
        case MappingDefined():
            message.mapping.document = event.document
        case CallerDefined():
            message.caller.CopyFrom(_of_caller(event))
        case OverrideDefined():
            message.override.CopyFrom(_of_override(event))
    return message


def _to_purpose(request_id: str, asked: pb.Definition) -> PurposeDefined:
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


def _to_controller(request_id: str, asked: pb.Definition) -> ControllerDefined:
    controller = asked.controller
    return ControllerDefined(
        request_id=request_id,
        name=asked.name,
        version=0,
        legal_name=controller.legal_name,
        address=controller.address,
        contact=controller.contact,
        protection_officer=controller.protection_officer,
        jurisdiction=controller.jurisdiction,
        defined_by=asked.defined_by,
        reason=asked.reason,
    )


def _to_notice(request_id: str, asked: pb.Definition) -> NoticeDefined:
    return NoticeDefined(
        request_id=request_id,
        name=asked.name,
        version=0,
        purposes=tuple(asked.notice.purposes),
        texts=tuple(notice_text(text.locale, text.text) for text in asked.notice.texts),
        controller=asked.notice.controller,
        defined_by=asked.defined_by,
        reason=asked.reason,
    )


def _to_caller(request_id: str, asked: pb.Definition) -> CallerDefined:
    caller = asked.caller
    return CallerDefined(
        request_id=request_id,
        name=asked.name,
        version=0,
        description=caller.description,
        issuer=caller.issuer,
        subject=caller.subject,
        certificate_names=tuple(caller.certificate_names),
        purposes=tuple(caller.purposes),
        groups=tuple(_group(value) for value in caller.groups),
        calls_per_s=caller.calls_per_s,
        burst=caller.burst,
        misses_per_min=caller.misses_per_min,
        customers_per_hour=caller.customers_per_hour,
        defined_by=asked.defined_by,
        reason=asked.reason,
    )


def _to_override(request_id: str, asked: pb.Definition) -> OverrideDefined:
    override = asked.override
    return OverrideDefined(
        request_id=request_id,
        name=asked.name,
        version=0,
        caller=override.caller,
        purpose=override.purpose,
        ticket=override.ticket,
        approved_by=override.approved_by,
        ends_at=instant(override.end_time, "end_time"),
        closed=override.closed,
        review=override.review,
        defined_by=asked.defined_by,
        reason=asked.reason,
    )


def _of_override(override: OverrideDefined) -> pb.Override:
    return pb.Override(
        caller=override.caller,
        purpose=override.purpose,
        ticket=override.ticket,
        approved_by=override.approved_by,
        end_time=to_timestamp(override.ends_at),
        closed=override.closed,
        review=override.review,
        opened_by=override.opened_by,
    )


def _mask(value: pb.Masking.ValueType) -> MaskClass:
    if (name := MASK_NAMES.get(value)) is None:
        raise InvalidInput(f"a mask is one of {', '.join(MASKS)}", reason="PURPOSE_INVALID", field="masks")
    return name


def _group(value: pb.MethodGroup.ValueType) -> Group:
    if (name := GROUP_NAMES.get(value)) is None:
        raise InvalidInput(f"methods are of the groups {', '.join(GROUPS)}", reason="CALLER_INVALID", field="groups")
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


def _of_purpose(purpose: PurposeDefined) -> pb.Purpose:
    return pb.Purpose(
        description=purpose.description,
        legal_basis=LEGAL_BASES[purpose.legal_basis],
        traits=purpose.traits,
        controller=purpose.controller,
        legal_bases={place: LEGAL_BASES[basis] for place, basis in purpose.legal_bases.items()},
        double_opt_in=purpose.double_opt_in,
        minimum_age=purpose.minimum_age,
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


def _of_controller(controller: ControllerDefined) -> pb.Controller:
    return pb.Controller(
        legal_name=controller.legal_name,
        address=controller.address,
        contact=controller.contact,
        protection_officer=controller.protection_officer,
        jurisdiction=controller.jurisdiction,
    )


def _of_caller(caller: CallerDefined) -> pb.Caller:
    return pb.Caller(
        description=caller.description,
        issuer=caller.issuer,
        subject=caller.subject,
        certificate_names=caller.certificate_names,
        purposes=caller.purposes,
        groups=[GROUPS[group] for group in caller.groups],
        calls_per_s=caller.calls_per_s,
        burst=caller.burst,
        misses_per_min=caller.misses_per_min,
        customers_per_hour=caller.customers_per_hour,
    )


def _of_notice(notice: NoticeDefined, texts: bool) -> pb.Notice:
    shown = [pb.NoticeText(locale=one.locale, text=one.text if texts else "", sha256=one.sha256.hex()) for one in notice.texts]
    return pb.Notice(purposes=notice.purposes, controller=notice.controller, texts=shown)
