"""What is told of restrictions of processing, between the edge and the use case."""

from c360.consent.v1 import evidence_pb2 as pb

from services.consent.api.asking import position
from services.consent.api.restriction_words import restriction_message
from services.consent.restricted import Restricted
from shared.ids import to_text
from shared.instants import to_timestamp


def restricted_message(one: Restricted) -> pb.RestrictedProcessing:
    event = one.placed.event
    assert event.restriction is not None, "a restriction says why"
    message = pb.RestrictedProcessing(
        restriction_id=to_text(event.decision_id),
        identifier_hash=event.identifier_hash.hex(),
        namespace=event.namespace,
        customer_id=to_text(one.customer) if one.customer else "",
        restriction=restriction_message(event.restriction),
        restrict_time=to_timestamp(event.decided_at),
        record_time=to_timestamp(one.placed.recorded_at),
        position=position(one.placed.pos),
        request_id=event.request_id,
        rights_request_ids=[to_text(rights_id) for rights_id in one.asked_by],
        belonging=one.belonging,
    )
    if one.lifted is not None and one.lifted.event.restriction is not None:
        message.lift.CopyFrom(restriction_message(one.lifted.event.restriction))
        message.lift_time.CopyFrom(to_timestamp(one.lifted.event.decided_at))
    return message
