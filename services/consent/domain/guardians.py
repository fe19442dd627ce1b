"""Who may authorise for a child: neither the person themselves nor another child. Pure.

What is learnt later of who is one with whom is minded whenever it is judged (`consent_rule.by_others`). So is what is learnt of the guardian's
age: it is recorded about the child as well, for then whoever knows what was decided about the child knows it.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from shared.consent_conditions import by_another, minor_under
from shared.consent_overlays import is_younger, known_ages
from shared.errors import WrongState
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.ids import derived_id, to_text


class Ward(NamedTuple):
    """For whom somebody authorises something, by which of the child's identifiers, and by which of the guardian's."""

    identifier_hash: bytes
    namespace: str
    guardian_hash: bytes


def check_guardian(
    purpose: PurposeDefined, decision: DecisionRecorded, theirs: Collection[bytes], of_guardian: Collection[DecisionRecorded]
) -> None:
    """`theirs`: the identifiers that are, or may be, of whom it is decided; `of_guardian`: what was said of who authorised it.

    Raises WrongState (GUARDIAN_IS_THE_PERSON, GUARDIAN_IS_A_MINOR).
    """
    if decision.authorised != by_another(decision, theirs).authorised:
        raise WrongState("who authorises it for a child is somebody else", reason="GUARDIAN_IS_THE_PERSON")
    ages, years = known_ages(of_guardian), minor_under(purpose)
    if ages and years and is_younger(ages, years, decision.decided_at):
        raise WrongState("who authorised it was known to be too young to grant it themselves", reason="GUARDIAN_IS_A_MINOR")


def wards(decisions: Iterable[DecisionRecorded]) -> set[Ward]:
    """Of whom somebody is responsible for, by these grants and what was told of their guardians' ages."""
    found = set[Ward]()
    for one in decisions:
        guardian = one.authorised.guardian_hash if one.authorised else one.age.guardian_hash if one.age else b""
        if guardian:
            found.add(Ward(one.identifier_hash, one.namespace, guardian))
    return found


def told_of_guardian(age: DecisionRecorded, ward: Ward) -> DecisionRecorded:
    """An age, or its correction, as it is recorded about a ward: the same again for the same. Who said it and why stays with the guardian."""
    said = age.age
    assert said is not None, "an age is told"
    follows = to_text(age.decision_id)
    told = msgspec.structs.replace(
        said,
        corrects=_told_id(said.corrects, ward) if said.corrects else b"",
        guardian_hash=ward.guardian_hash,
        follows=age.decision_id,
        by="consent",
        reason=f"said of who authorises for them: {follows}",
    )
    decision_id = _told_id(age.decision_id, ward)
    return msgspec.structs.replace(
        age,
        request_id=f"guardian:{to_text(decision_id)}",
        decision_id=decision_id,
        identifier_hash=ward.identifier_hash,
        namespace=ward.namespace,
        method="",
        proof_sha256=b"",
        age=told,
    )


def _told_id(age_id: bytes, ward: Ward) -> bytes:
    return derived_id(b"guardian_age", age_id, ward.identifier_hash, ward.guardian_hash)
