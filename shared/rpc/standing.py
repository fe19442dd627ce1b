"""What a process answers that only stands by."""

from collections.abc import Collection

from shared.errors import Unavailable


class Standing:
    """Whether a process only stands by, for another one that owns the log; then it answers `lookups` alone, by their full names."""

    by = False
    lookups: Collection[str] = ()

    def check(self, method: str) -> None:
        """Raises Unavailable (STANDBY)."""
        if self.by and method not in self.lookups:
            raise Unavailable("this process stands by for another one, which answers; ask that one", reason="STANDBY")
