"""What docs/computed-traits.md shows can be activated as it stands."""

import re
from pathlib import Path

from services.profile.domain.rules_document import read, rules_of

PAGE = Path(__file__).parents[2] / "docs" / "computed-traits.md"


def test_the_example_of_the_page_is_a_document_of_rules() -> None:
    found = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    rules = rules_of(read(found[1]), 1)
    assert rules.computed is not None
    assert rules.segments is not None
    assert set(rules.segments.conditions) == {"us_new", "lapsed"}
