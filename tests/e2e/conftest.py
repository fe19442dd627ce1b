"""Stacks that a test may break."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.stack.stack import Stack
from tests.stacks import fresh_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    with fresh_directory() as made:
        yield made


@pytest.fixture
def own_stack(directory: Path) -> Iterator[Stack]:
    """Everything, for one test alone."""
    with Stack(directory, disposable=True) as stack:
        yield stack
