"""What people ask for when they put rules in force, and which version that came to. Pure."""

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from services.profile.domain.rules_document import RulesDocument
from shared.errors import InvalidInput
from shared.request_ids import check_request_id, reused

MAX_REASON: Final = 200  # characters: a ground and a ticket, not a letter
MAX_NAME: Final = 100  # characters


class Activated(Protocol):
    """A version, with who activated it and why."""

    @property
    def document(self) -> RulesDocument: ...
    @property
    def request_id(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def activated_by(self) -> str: ...


Version = TypeVar("Version", bound=Activated)


class ActivateRules(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, REASON_INVALID, NAME_INVALID)."""

    request_id: str
    document: RulesDocument
    reason: str
    activated_by: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        if not 1 <= len(self.reason) <= MAX_REASON or not self.reason.isprintable():
            raise InvalidInput(f"a reason is 1 to {MAX_REASON} printable characters", reason="REASON_INVALID")
        if not 1 <= len(self.activated_by) <= MAX_NAME or not self.activated_by.isprintable():
            raise InvalidInput(f"say who, in 1 to {MAX_NAME} printable characters", reason="NAME_INVALID")

    def answered(self, versions: Sequence[Version]) -> Version | None:
        """The version that came of the same request before. Raises Conflict (REQUEST_ID_REUSED) when that said something else."""
        earlier = next((version for version in versions if version.request_id == self.request_id), None)
        if earlier is not None and not self._says_the_same(earlier):
            raise reused()
        return earlier

    def _says_the_same(self, earlier: Activated) -> bool:
        mine = (self.document, self.reason, self.activated_by)
        return mine == (earlier.document, earlier.reason, earlier.activated_by)
