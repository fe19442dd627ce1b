"""Changes of memberships as messages."""

from c360.profile.v1 import segment_pb2 as pb

from services.profile.lag import Lag
from services.profile.tables.memberships import Change
from shared.ids import to_text
from shared.instants import to_timestamp


def change_message(one: Change) -> pb.MembershipChange:
    return pb.MembershipChange(
        customer_id=to_text(one.customer),
        entered=one.entered,
        valid_time=to_timestamp(one.valid_at),
        record_time=to_timestamp(one.recorded_at),
        rules_version=one.rules_version,
        cause=one.cause,
        event_id=to_text(one.event_id) if one.event_id else "",
        event_type=one.event_type,
    )


def lag_message(lag: Lag | None) -> pb.MembershipLag | None:
    if lag is None:
        return None
    return pb.MembershipLag(events=lag.events, begin_time=to_timestamp(lag.since) if lag.since else None)
