"""The rules of who is who, as they change. They stand in one stream of identity's log; nobody follows them.

None of this is personal: blocked values are keyed hashes, and who writes a reason is told to name nobody in it.
"""

from shared.events.catalogue import Public, register

OWNER = "identity"
FOLLOWERS: tuple[str, ...] = ()


class RulesDiffer(Public, frozen=True, kw_only=True):
    """What other rules change: customers fewer by joining, more by coming apart; identifiers linked and unlinked, those that
    stop linking as shared ones, and those that link again. `identifiers` is how many were looked at."""

    identifiers: int = 0
    merges: int = 0
    splits: int = 0
    links: int = 0
    unlinks: int = 0
    shared: int = 0
    returned: int = 0


class RulesActivated(Public, frozen=True, kw_only=True):
    """From the next position of identity's log on, everything is concluded by these rules; `expected` is what was reported."""

    request_id: str
    version: int  # 1 are the shipped ones, when an installation starts for the first time
    document: str  # JSON
    activated_by: str
    reason: str
    expected: RulesDiffer


class RulesSettled(Public, frozen=True, kw_only=True):
    """Everything that was there when the rules were activated is concluded by them. What was written for it is counted, steps
    that a later one took back included."""

    version: int
    identifiers: int
    merges: int
    splits: int
    links: int
    unlinks: int


RULES_ACTIVATED = register("identity.rules_activated", 1, RulesActivated)
RULES_SETTLED = register("identity.rules_settled", 1, RulesSettled)
