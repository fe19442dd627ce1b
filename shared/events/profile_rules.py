"""The rules by which profiles are made, as they change. They stand in one stream of profile's log, which is no customer's; nobody
follows them.

None of this is personal: who writes a reason is told to name nobody in it, and names of traits are those that rules name.
"""

from shared.events.catalogue import Public, register

OWNER = "profile"
FOLLOWERS: tuple[str, ...] = ()


class ProfileRulesDiffer(Public, frozen=True, kw_only=True):
    """What other rules change, of so many customers: those with any other value, and by trait that rules name how many have another
    value of it; "*" counts the values of all other traits."""

    customers: int = 0
    changed_customers: int = 0
    traits: dict[str, int] = {}


class ProfileRulesActivated(Public, frozen=True, kw_only=True):
    """From then on profiles are made by these rules; `expected` is what was reported."""

    request_id: str
    version: int  # 1 are the shipped ones, when an installation starts for the first time
    document: str  # JSON
    activated_by: str
    reason: str
    expected: ProfileRulesDiffer


class ProfileRulesSettled(Public, frozen=True, kw_only=True):
    """Every state that was there is folded with what these rules need. Until then one is when it is asked for."""

    version: int
    states: int  # folded anew


PROFILE_RULES_ACTIVATED = register("profile.rules_activated", 1, ProfileRulesActivated)
PROFILE_RULES_SETTLED = register("profile.rules_settled", 1, ProfileRulesSettled)
