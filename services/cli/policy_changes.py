"""What is supposed in a simulation, as people write it: `marketing invalid since 2026-03-01`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from services.cli.instants import parse_instant

if TYPE_CHECKING:
    from c360.profile.v1 import policy_pb2

EXPECTED: Final = (
    "write PURPOSE and one of invalid, legal-basis=BASIS, jurisdiction=CODE, expires-after-days=N, minimum-age=N, "
    "minors-under=N, minors-opt-in-from=N, double-opt-in, notice=NAME@VERSION, version=N; or decision ID withdrawn; and, where it isn't always, since INSTANT"
)
BASES: Final = frozenset({"consent", "contract", "legal-obligation", "legitimate-interest"})
YEARS: Final = ("minimum-age", "minors-under", "minors-opt-in-from")
NUMBERS: Final = {
    "expires-after-days": 36_500,
    "version": 2**31 - 1,
    **dict.fromkeys(YEARS, 150),
}  # and the largest that there may be


def parse_change(text: str) -> policy_pb2.PolicyChange:
    """Raises ValueError."""
    from services.cli import messages

    words, since = text.split(), None
    if len(words) > 2 and words[-2] == "since":
        since, words = parse_instant(words[-1], datetime.now(UTC)) or datetime.now(UTC), words[:-2]
    change = _change(words)
    if since is not None:
        stamp = messages.timestamp(since)
        assert stamp is not None, "there is an instant"
        change.since_time.CopyFrom(stamp)
    return change


def _change(words: list[str]) -> policy_pb2.PolicyChange:
    from c360.profile.v1 import policy_pb2

    match words:
        case ["decision", decision_id, "withdrawn"]:
            return policy_pb2.PolicyChange(withdrawn_decision_id=str(_uuid(decision_id)))
        case [purpose, "invalid"]:
            return policy_pb2.PolicyChange(purpose=purpose, invalid=True)
        case [purpose, "double-opt-in"]:
            return policy_pb2.PolicyChange(purpose=purpose, double_opt_in=True)
        case [purpose, value] if "=" in value:
            change = policy_pb2.PolicyChange(purpose=purpose)
            _set(change, *value.split("=", 1))
            return change
    raise ValueError(EXPECTED)


def _set(change: policy_pb2.PolicyChange, name: str, value: str) -> None:
    if name == "legal-basis" and value in BASES:
        change.legal_basis = value.replace("-", "_")
    elif name == "jurisdiction" and value:
        change.jurisdiction = value
    elif name == "notice" and "@" in value:
        notice, _, version = value.partition("@")
        change.notice.name, change.notice.version = notice, _number(version, NUMBERS["version"])
    elif name in NUMBERS:
        setattr(change, name.replace("-", "_"), _number(value, NUMBERS[name]))
    else:
        raise ValueError(EXPECTED)


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ValueError(f"{text!r} is no number up to {most}")
    return int(text)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{text!r} is no decision's id; `c360 consent history` lists them") from None
