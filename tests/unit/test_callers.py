"""Who calls: a name that the caller gives itself stands in records for ever, so only one that may be written down counts."""

import pytest

from shared.rpc.callers import UNAUTHENTICATED, caller_of


class Call:
    def __init__(self, *metadata: tuple[str, str | bytes]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata


def test_a_caller_has_the_name_that_it_gives_itself() -> None:
    assert caller_of(Call(("user-agent", "x"), ("x-c360-caller", "newsletter-sender"))) == "newsletter-sender"


def test_nobody_knows_a_caller_that_gives_none() -> None:
    assert caller_of(Call()) == caller_of(Call(("user-agent", "x"))) == UNAUTHENTICATED


@pytest.mark.parametrize("name", ["", "jane@example.com", "a name", "x" * 65, "a\nb"])
def test_a_name_that_may_not_be_written_down_is_none(name: str) -> None:
    assert caller_of(Call(("x-c360-caller", name))) == UNAUTHENTICATED
