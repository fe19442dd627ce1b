"""What a TC string lacks by IAB Europe's policies of the day it was made. A string that lacks something grants nothing.

Sources: the TC string specification's version history and field notes (TCF 2.2: May 2023, in force on 20 November 2023;
TCF 2.3: vendors that were disclosed are named, in force on 28 February 2026).
"""

from typing import Final, Literal

from services.consent.domain.signals.tcf import TcString
from shared.instants import from_iso

TCF_2_2: Final = from_iso("2023-11-20T00:00:00Z")
TCF_2_3: Final = from_iso("2026-02-28T00:00:00Z")
POLICY_OF_TCF_2_2: Final = 4

Defect = Literal["UPDATED_BEFORE_CREATED", "POLICY_OUTDATED", "SCOPE_GLOBAL", "VENDORS_NOT_DISCLOSED"]


def defects(tc: TcString) -> tuple[Defect, ...]:
    """By the string's own date, not by today's: what was right when it was made stays right."""
    told: tuple[tuple[Defect, bool], ...] = (
        ("UPDATED_BEFORE_CREATED", tc.last_updated < tc.created),
        ("POLICY_OUTDATED", tc.last_updated >= TCF_2_2 and tc.policy_version < POLICY_OF_TCF_2_2),
        ("SCOPE_GLOBAL", tc.last_updated >= TCF_2_2 and not tc.service_specific),
        ("VENDORS_NOT_DISCLOSED", tc.last_updated >= TCF_2_3 and tc.disclosed_vendors is None),
    )
    return tuple(defect for defect, is_there in told if is_there)
