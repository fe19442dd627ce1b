"""What was decided about two identifiers of one customer names both: the customer's id would say nothing twice."""

from services.cli.identity_decisions import _sides
from services.cli.identity_explain import _about

ONE, OTHER = "01a204c3-0000-7000-8000-000000000001", "01a204c3-0000-7000-8000-000000000002"
ENDS = [{"namespace": "user_id", "value_hash": "5d35b1e2ffff"}, {"namespace": "phone", "value_hash": "f4b4265effff"}]
BOTH = "user_id #5d35b1e2 and phone #f4b4265e"


def entry(other: str, erased: bool = False) -> str:
    one, two = (ENDS[0], None) if erased else ENDS
    return _about(
        {"customer_id": ONE, "other_customer_id": other, "other_erased": erased, "identifier": one, "other_identifier": two}
    )


def test_in_the_list_of_decisions() -> None:
    assert _sides({"customer_ids": [ONE, ONE], "identifiers": ENDS}) == f"{ONE}: {BOTH}"
    assert _sides({"customer_ids": [ONE, OTHER], "identifiers": ENDS}) == f"{ONE}, {OTHER}"


def test_in_the_history_of_the_customer() -> None:
    assert entry(ONE) == BOTH
    assert entry(OTHER) == f"{OTHER}, {BOTH}"
    assert entry("", erased=True) == "somebody who was erased, user_id #5d35b1e2"
