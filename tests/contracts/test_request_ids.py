"""The id of a write is judged in one way, whichever service takes it."""

from collections.abc import Callable
from typing import Any

import pytest

from services.consent.domain.definitions import Define
from services.consent.domain.ledger import RecordDecision
from services.consent.domain.receiving import ReceiveSignal
from services.identity.activating import ActivateRules
from services.identity.domain.decision import Decide, Party
from services.identity.domain.erasure import EraseCustomer
from services.identity.domain.rules_document import RulesDocument
from services.identity.model_activating import ActivateModel
from services.ingest.domain import sources
from shared.errors import InvalidInput
from shared.events.consent import ControllerDefined
from shared.request_ids import MAX_REQUEST_ID

ONE, OTHER = Party(customer=bytes(16)), Party(customer=bytes(15) + b"\1")
WRITES: dict[str, Callable[[str], Any]] = {
    "consent: definition": lambda r: Define(
        definition=ControllerDefined(request_id=r, name="a", version=0, legal_name="A", defined_by="ops", reason="asked")
    ),
    "consent: decision": lambda r: RecordDecision(
        request_id=r, identifier_hash=bytes(32), namespace="email", purpose="a", outcome="granted"
    ),
    "consent: signal": lambda r: ReceiveSignal(
        request_id=r, identifier_hash=bytes(16), namespace="anonymous_id", kind="gpc", text="1"
    ),
    "identity: erasure": lambda r: EraseCustomer(
        request_id=r, customer=bytes(16), policy="refuse", reason="asked", requested_by=""
    ),
    "identity: decision": lambda r: Decide(request_id=r, act="merge", one=ONE, other=OTHER, decided_by="ops", reason="asked"),
    "identity: rules": lambda r: ActivateRules(
        request_id=r, document=RulesDocument(namespaces=()), reason="asked", activated_by=""
    ),
    "identity: model": lambda r: ActivateModel(request_id=r, document="", reason="asked", activated_by=""),
    "ingest: source": lambda r: sources.check(sources.RegisterSource(r, "shop", "wk_")),
    "ingest: settings": lambda r: sources.check(sources.ChangeSettings(r, "shop", {})),
    "ingest: key": lambda r: sources.check(sources.AddKey(r, "shop", "app", "wk_")),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize(
    ("request_id", "reason"),
    [("", "REQUEST_ID_MISSING"), ("r" * (MAX_REQUEST_ID + 1), "REQUEST_ID_INVALID"), ("a\0b", "REQUEST_ID_INVALID")],
    ids=["none", "long", "unprintable"],
)
def test_a_request_id_is_judged_alike(write: Callable[[str], Any], request_id: str, reason: str) -> None:
    write("r" * MAX_REQUEST_ID)
    with pytest.raises(InvalidInput) as refused:
        write(request_id)
    assert refused.value.reason == reason
