"""Rights requests and their steps as messages."""

from typing import Any, Final, get_args

from c360.consent.v1 import rights_pb2 as pb

from services.consent.api.asking import position
from services.consent.domain.rights import OPEN, State, Today
from services.consent.rights import PlacedStep, Standing
from shared.events.rights import Ground, Law, Right
from shared.ids import to_text
from shared.instants import to_timestamp


def _by_number(kind: Any, prefix: str, words: Any) -> dict[int, Any]:
    """{number: our word}, of an enum that has the same words."""
    return {kind.Value(f"{prefix}_{word.upper()}"): word for word in get_args(words)}


RIGHTS: Final[dict[int, Right]] = _by_number(pb.Right, "RIGHT", Right)
LAWS: Final[dict[int, Law]] = _by_number(pb.Law, "LAW", Law)
GROUNDS: Final[dict[int, Ground]] = _by_number(pb.Ground, "GROUND", Ground)
STATES: Final[dict[int, State]] = _by_number(pb.RightsState, "RIGHTS_STATE", State)


def request_message(standing: Standing, customer: bytes, today: Today) -> pb.RightsRequest:
    request, received = standing.request, standing.request.received
    return pb.RightsRequest(
        rights_request_id=to_text(standing.rights_id),
        right=pb.Right.Value(f"RIGHT_{received.right.upper()}"),
        law=pb.Law.Value(f"LAW_{received.law.upper()}"),
        calendar=received.calendar,
        state=pb.RightsState.Value(f"RIGHTS_STATE_{request.state.upper()}"),
        namespace=received.namespace,
        value_hash=received.identifier_hash.hex(),
        customer_id=to_text(customer) if customer else "",
        receive_date=received.received_on,
        acknowledge_by_date=received.acknowledge_by,
        acknowledged=request.acknowledged,
        due_date=request.due_on,
        longest_date=received.longest_on,
        extended=request.extended,
        overdue=request.state in OPEN and request.due_on < today.latest.isoformat(),
        duplicate_of_id=to_text(received.duplicate_of) if received.duplicate_of else "",
    )


def step_message(placed: PlacedStep) -> pb.RightsStep:
    """Of what only some steps say, what this one says."""
    step: Any = placed.step
    ground = getattr(step, "ground", "")
    return pb.RightsStep(
        kind=placed.entry.kind,
        record_time=to_timestamp(placed.recorded_at),
        request_id=step.request_id,
        taken_by=step.by,
        reason=step.reason,
        tell_date=getattr(step, "told_on", ""),
        due_date=getattr(step, "due_on", ""),
        passed=getattr(step, "passed", False),
        method=getattr(step, "method", ""),
        ground=pb.Ground.Value(f"GROUND_{ground.upper()}") if ground else pb.GROUND_UNSPECIFIED,
        references=getattr(step, "references", ()),
        proof_sha256=getattr(step, "proof_sha256", b"").hex(),
        position=position(placed.pos),
    )
