"""What is said of restrictions, between the protos and the events."""

from typing import Final

from c360.consent.v1 import consent_pb2, registry_pb2
from c360.consent.v1 import restriction_pb2 as pb

from shared.errors import InvalidInput
from shared.events.consent import Restriction, RestrictionException, RestrictionGround
from shared.ids import to_text
from shared.instants import to_timestamp

GROUNDS: Final[dict[RestrictionGround, pb.RestrictionGround.ValueType]] = {
    "accuracy_contested": pb.RESTRICTION_GROUND_ACCURACY_CONTESTED,
    "unlawful_processing": pb.RESTRICTION_GROUND_UNLAWFUL_PROCESSING,
    "legal_claims": pb.RESTRICTION_GROUND_LEGAL_CLAIMS,
    "objection_pending": pb.RESTRICTION_GROUND_OBJECTION_PENDING,
}
EXCEPTIONS: Final[dict[RestrictionException, registry_pb2.RestrictionException.ValueType]] = {
    "consent": registry_pb2.RESTRICTION_EXCEPTION_CONSENT,
    "legal_claims": registry_pb2.RESTRICTION_EXCEPTION_LEGAL_CLAIMS,
    "rights_of_others": registry_pb2.RESTRICTION_EXCEPTION_RIGHTS_OF_OTHERS,
    "public_interest": registry_pb2.RESTRICTION_EXCEPTION_PUBLIC_INTEREST,
}
GROUND_NAMES: Final = {value: name for name, value in GROUNDS.items()}
EXCEPTION_NAMES: Final = {value: name for name, value in EXCEPTIONS.items()}


def ground(value: pb.RestrictionGround.ValueType) -> RestrictionGround:
    if (name := GROUND_NAMES.get(value)) is None:
        raise InvalidInput("a restriction stands on grounds of GDPR Art. 18(1)", reason="GROUND_MISSING")
    return name


def exception(value: registry_pb2.RestrictionException.ValueType) -> RestrictionException:
    if (name := EXCEPTION_NAMES.get(value)) is None:
        raise InvalidInput(
            f"restricted data is processed on one of {', '.join(EXCEPTIONS)}", reason="PURPOSE_INVALID", field="despite_restriction"
        )
    return name


def restriction_message(said: Restriction) -> consent_pb2.Restriction:
    return consent_pb2.Restriction(
        grounds=[GROUNDS[one] for one in said.grounds],
        lifts=to_text(said.lifts) if said.lifts else "",
        tell_time=to_timestamp(said.told_at) if said.told_at else None,
        recorded_by=said.by,
        reason=said.reason,
    )
