"""docs/rights.md can't rot: its commands answer what it shows, up to ids, instants and days."""

from pathlib import Path

import pytest

from services.stack.stack import Stack
from tests.e2e.rights_example import PAGE, canonical, play


@pytest.mark.timeout(400)
def test_the_commands_answer_what_the_page_shows(directory: Path) -> None:
    """On a stack of its own: it erases."""
    page = PAGE.read_text()
    with Stack(directory, disposable=True) as stack:
        assert canonical(play(page, stack)) == canonical(page)
