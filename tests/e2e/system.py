"""What traffic is sent to and counted in: a Stack of child processes, or containers."""

from collections.abc import Sequence
from typing import Protocol

from services.stack.ports import Endpoints


class System(Protocol):
    @property
    def endpoints(self) -> Endpoints: ...

    @property
    def services(self) -> Sequence[str]: ...

    @property
    def processes(self) -> Sequence[str]:
        """Of the services; of each there may be several."""

    @property
    def admin_url(self) -> str:
        """Of PostgreSQL's superuser, until something is started again."""

    def wait_ready(self, *names: str) -> None:
        """All when none is named."""

    def log_lines(self, name: str) -> list[str]: ...
