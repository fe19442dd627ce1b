"""The models that say who is likely whom, as they change. They stand in one stream of identity's log; nobody follows them.

None of this is personal: a model holds weights, and the frequencies of values that many have.
"""

from shared.events.catalogue import Public, register
from shared.events.rules import RulesDiffer

OWNER = "identity"
FOLLOWERS: tuple[str, ...] = ()


class ModelActivated(Public, frozen=True, kw_only=True):
    """From here on, records are compared by this model; `expected` is what was reported."""

    request_id: str
    number: int  # 1 is the shipped one, when an installation starts for the first time
    model: str  # digest of the document
    document: str  # JSON, as it was given: activated again, it gives the same weights
    activated_by: str
    reason: str
    expected: RulesDiffer


class ModelSettled(Public, frozen=True, kw_only=True):
    """All records that were there when the model was activated are compared by it, and the graph follows."""

    number: int
    records: int


MODEL_ACTIVATED = register("identity.model_activated", 1, ModelActivated)
MODEL_SETTLED = register("identity.model_settled", 1, ModelSettled)
