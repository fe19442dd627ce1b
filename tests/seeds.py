"""Seeds of what is drawn by chance and costs too much to be drawn by Hypothesis: a life on real servers."""

from hypothesis import settings

from tests.conftest import USUAL_EXAMPLES


def seeds(usual: int) -> range:
    """Ten times as many for `make laws`."""
    return range(usual * settings().max_examples // USUAL_EXAMPLES)
