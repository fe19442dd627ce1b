"""The reference is made of the protos, whole."""

from pathlib import Path

import pytest

from docs_site.descriptors import METHODS, Described, described
from docs_site.errors import errors_page, listed, method_prose
from docs_site.metrics import metrics_page
from docs_site.naming import anchor, page_of, prose
from docs_site.navigation import SECTIONS, NotInNavigation, configuration, navigation
from docs_site.pages import lay_out
from docs_site.reference import reference_pages

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files() -> list[Described]:
    return described(ROOT / "protos")


@pytest.fixture(scope="module")
def pages(files: list[Described]) -> dict[str, str]:
    return reference_pages(files)


def test_every_method_has_a_comment_and_is_on_the_overview_and_on_its_page(files: list[Described], pages: dict[str, str]) -> None:
    seen = 0
    for each in files:
        page = pages[page_of(each.file.name)]
        for place, service in each.services():
            for index, method in enumerate(service.method):
                at = anchor(f"{each.file.package}.{service.name}.{method.name}")
                assert each.comment(*place, METHODS, index), f"{service.name}.{method.name} has no comment"
                assert f"### {method.name} {{ #{at} }}" in page
                assert f"[`{service.name}.{method.name}`]" in pages["reference/index.md"]
                seen += 1
    assert seen == sum(path.read_text().count("\n  rpc ") for path in (ROOT / "protos" / "c360").rglob("*.proto"))


def test_every_field_and_every_value_is_on_its_page(files: list[Described], pages: dict[str, str]) -> None:
    for each in files:
        page = pages[page_of(each.file.name)]
        for _, name, message in each.messages():
            assert f"{{ #{anchor(name)} }}" in page
            assert all(f"\n| `{field.name}` |" in page for field in message.field)
        for _, _, enum in each.enums():
            assert all(f"\n| `{value.name}` |" in page for value in enum.value)


def test_the_reasons_of_a_refusal_are_found_in_the_words_of_a_method() -> None:
    comment = "It reads.\nErrors: NOT_FOUND (CUSTOMER_UNKNOWN,\nRULES_UNKNOWN), PERMISSION_DENIED (HELD: an erasure waits for a HOLD), UNAVAILABLE."
    assert listed(comment) == [
        ("NOT_FOUND", "CUSTOMER_UNKNOWN"),
        ("NOT_FOUND", "RULES_UNKNOWN"),
        ("PERMISSION_DENIED", "HELD"),
    ]
    assert "\n\nErrors: `NOT_FOUND` (`CUSTOMER_UNKNOWN`" in method_prose(comment)


def test_reasons_that_callers_meet_are_listed_with_who_names_them(files: list[Described]) -> None:
    page = errors_page(files)
    assert "[ProfileService.GetProfile](profile/profile.md#profileservice-getprofile)" in page
    assert all(f"| `{reason}` |" in page for reason in ("CONSENT_WITHDRAWN", "CUSTOMER_UNKNOWN", "NOT_FRESH_ENOUGH"))


def test_what_a_comment_says_is_not_taken_for_markup() -> None:
    assert prose("at <place>, a*b, `x<y`") == "at &lt;place&gt;, a\\*b, `x<y`"


def test_metrics_are_listed_with_their_labels() -> None:
    assert "| `c360_lag_seconds` | gauge | `stream` |" in metrics_page()


def test_a_page_that_the_navigation_lacks_is_refused(tmp_path: Path, pages: dict[str, str]) -> None:
    lay_out(ROOT, tmp_path)
    for name in [*pages, "reference/errors.md", "reference/metrics.md"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("# A title\n")
    assert [next(iter(section)) for section in navigation(tmp_path)] == [*SECTIONS, "Decisions"]
    (tmp_path / "lost.md").write_text("# Lost\n")
    with pytest.raises(NotInNavigation, match=r"lost\.md"):
        configuration(tmp_path)
