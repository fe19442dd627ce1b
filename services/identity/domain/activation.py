"""What is put in force by people, rules or a model: one command and one answer for both."""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from services.identity.domain.erasure import check_request
from shared.request_ids import reused

Document = TypeVar("Document")


class Activated(Protocol):
    """A version of something, with who activated it and why."""

    @property
    def document(self) -> Any: ...
    @property
    def request_id(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def activated_by(self) -> str: ...


Version = TypeVar("Version", bound=Activated)


class Activate(msgspec.Struct, Generic[Document], frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, REASON_INVALID, NAME_INVALID)."""

    request_id: str
    document: Document
    reason: str
    activated_by: str

    def __post_init__(self) -> None:
        check_request(self.request_id, self.reason, self.activated_by)

    def answered(self, versions: Sequence[Version]) -> Version | None:
        """The version that came of the same request before. Raises Conflict (REQUEST_ID_REUSED) when that said something else."""
        earlier = next((version for version in versions if version.request_id == self.request_id), None)
        if earlier is not None and not self._says_the_same(earlier):
            raise reused()
        return earlier

    def _says_the_same(self, earlier: Activated) -> bool:
        mine = (self.document, self.reason, self.activated_by)
        return mine == (earlier.document, earlier.reason, earlier.activated_by)
