"""A request to put something in force: sent again it is answered, and it never stands for something else."""

import msgspec
import pytest

from services.identity.domain.activation import Activate
from services.identity.tables.modelbook import ModelActivation
from shared.errors import Conflict, InvalidInput

COMMAND = Activate[str](request_id="2", document="second", reason="to try", activated_by="ann")
VERSIONS = [
    ModelActivation(number=number, version="", document=document, request_id=str(number), reason="to try", activated_by="ann")
    for number, document in ((1, "first"), (2, "second"), (3, "third"))
]


def test_a_request_that_came_before_is_answered_with_what_came_of_it() -> None:
    assert COMMAND.answered(VERSIONS) is VERSIONS[1]
    assert COMMAND.answered(VERSIONS[:1]) is None


@pytest.mark.parametrize("change", [{"document": "other"}, {"reason": "other"}, {"activated_by": "ben"}], ids=str)
def test_a_request_that_says_something_else_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Conflict) as refused:
        msgspec.structs.replace(COMMAND, **change).answered(VERSIONS)
    assert refused.value.reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"request_id": ""}, "REQUEST_ID_MISSING"),
        ({"request_id": "a\nb"}, "REQUEST_ID_INVALID"),
        ({"reason": ""}, "REASON_INVALID"),
        ({"activated_by": "a" * 1_000}, "NAME_INVALID"),
    ],
    ids=str,
)
def test_a_request_says_who_asks_and_why(change: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Activate[str](**(msgspec.structs.asdict(COMMAND) | change))
    assert refused.value.reason == reason
