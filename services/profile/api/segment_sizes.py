"""What is asked and told of the sizes of a segment, as messages."""

import msgspec
from c360.profile.v1 import segment_pb2 as pb

from services.profile.app import Profiles
from services.profile.domain.sizes import LONGEST_STEP_US, SHORTEST_STEP_US, STEPS_BY_DEFAULT, Size
from shared.errors import InvalidInput
from shared.instants import DAY, SECOND, now_us, to_timestamp
from shared.rpc.edge import instant


class Steps(msgspec.Struct, frozen=True):
    """From the first instant up to the last."""

    first: int
    last: int
    step: int


def steps_of(profiles: Profiles, request: pb.ListSegmentSizesRequest) -> Steps:
    """Raises InvalidInput (INSTANT_INVALID, INSTANT_IN_FUTURE, STEP_INVALID)."""
    step = request.step.seconds * SECOND + request.step.nanos // 1000 if request.HasField("step") else DAY
    if not SHORTEST_STEP_US <= step <= LONGEST_STEP_US:
        raise InvalidInput("a step is from a second to ten years", reason="STEP_INVALID")
    last = profiles.past(instant(request.to_time, "to_time")) if request.HasField("to_time") else now_us()
    first = instant(request.from_time, "from_time") if request.HasField("from_time") else last - STEPS_BY_DEFAULT * step
    if first > last:
        raise InvalidInput("from_time is after to_time", reason="INSTANT_INVALID")
    return Steps(first, last, step)


def size_message(one: Size) -> pb.SegmentSize:
    return pb.SegmentSize(record_time=to_timestamp(one.at), size=one.size, unknown=one.unknown, rules_version=one.rules_version)
