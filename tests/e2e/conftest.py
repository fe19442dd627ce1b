"""Stacks that a test may break."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.stack.stack import Stack


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="c360-test-") as made:
        yield Path(made)


@pytest.fixture
def own_stack(directory: Path) -> Iterator[Stack]:
    """Everything, for one test alone."""
    with Stack(directory) as stack:
        yield stack
