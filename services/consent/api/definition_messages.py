"""Definitions between the protos and the events, both ways."""

from typing import Final

from c360.consent.v1 import registry_pb2 as pb

from services.consent.api.purpose_messages import of_purpose, to_purpose
from services.consent.domain.definitions import Definition, Kind, notice_text
from services.consent.views import Placed
from shared.errors import InvalidInput
from shared.events.callers import CallerDefined, Group, OverrideDefined
from shared.events.consent import ControllerDefined, NoticeDefined, PurposeDefined
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
GROUPS: Final[dict[Group, pb.MethodGroup.ValueType]] = {
    "read": pb.METHOD_GROUP_READ,
    "export": pb.METHOD_GROUP_EXPORT,
    "decide": pb.METHOD_GROUP_DECIDE,
    "administer": pb.METHOD_GROUP_ADMINISTER,
    "audit": pb.METHOD_GROUP_AUDIT,
}
GROUP_NAMES: Final = {value: name for name, value in GROUPS.items()}


def to_definition(request_id: str, asked: pb.Definition) -> Definition:
    """Raises InvalidInput (DEFINITION_MISSING, LEGAL_BASIS_MISSING, NOTICE_INVALID, CALLER_INVALID)."""
    match asked.WhichOneof("content"):
        case "purpose":
            return to_purpose(request_id, asked)
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
            message.purpose.CopyFrom(of_purpose(event))
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


def _group(value: pb.MethodGroup.ValueType) -> Group:
    if (name := GROUP_NAMES.get(value)) is None:
        raise InvalidInput(f"methods are of the groups {', '.join(GROUPS)}", reason="CALLER_INVALID", field="groups")
    return name


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
