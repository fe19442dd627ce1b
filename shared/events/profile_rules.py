"""The rules by which profiles are made, as they change. They stand in one stream of profile's log, which is no customer's; nobody
follows them.

None of this is personal: who writes a reason is told to name nobody in it, and names of traits are those that rules name.
"""

from shared.events.catalogue import Public, register

OWNER = "profile"
FOLLOWERS: tuple[str, ...] = ()


class SegmentDiffers(Public, frozen=True, kw_only=True):
    """Of a segment, how many customers enter and leave, and how many are in it then; of how many, in it or not, that was judged by less
    than all, because something that it looks at is cut."""

    entered: int = 0
    left: int = 0
    members: int = 0
    judged_by_less: int = 0


class ProfileRulesDiffer(Public, frozen=True, kw_only=True):
    """What other rules change, of so many customers: those with any other value, and by trait that rules name how many have another
    value of it; "*" counts the values of all other traits. Of `cut_traits` so many have a value, changed or not, that is made of less
    than all. By segment of either rules who enters and leaves.

    It was counted for a version of a purpose: who refused it isn't in it, and what it may not see is only named. Without a purpose
    nothing was counted.
    """

    purpose: str = ""
    purpose_version: int = 0
    customers: int = 0
    changed_customers: int = 0
    withheld_customers: int = 0
    traits: dict[str, int] = {}
    cut_traits: dict[str, int] = {}
    segments: dict[str, SegmentDiffers] = {}
    withheld_traits: tuple[str, ...] = ()
    withheld_segments: tuple[str, ...] = ()


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
