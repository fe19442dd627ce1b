"""docs/identity.md can't rot: its commands answer what it shows, up to ids and instants, and its figures are those measured last."""

from pathlib import Path

import pytest

from benchmarks import identity_page
from benchmarks.harness import RESULTS
from services.stack.stack import Stack
from tests.e2e.identity_example import PAGE, SERVICES, canonical, play


@pytest.mark.timeout(400)
def test_the_commands_answer_what_the_page_shows(directory: Path) -> None:
    """On a stack of its own: it activates rules."""
    page = PAGE.read_text()
    with Stack(directory, services=SERVICES, disposable=True) as stack:
        assert canonical(play(page, stack)) == canonical(page)


@pytest.mark.skipif(not (RESULTS / "identity.json").exists(), reason="make bench ONLY=identity has not been run")
def test_the_figures_are_those_measured_last() -> None:
    page = PAGE.read_text()
    assert identity_page.with_figures(page, identity_page.measured()) == page
