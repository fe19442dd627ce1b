"""The story of `make demo`, on the stack that all tests share."""

from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.e2e.story import Story


def test_the_story_of_one_customer_holds(stack: Stack) -> None:
    with Platform(stack.endpoints) as platform:
        assert Story(platform, {"C360_DATA_DIR": str(stack.data_directory)}).play().checks > 20
