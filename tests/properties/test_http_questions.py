"""Laws of what a record keeps of how the HTTP door was asked: from it the question can be asked again."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.disclosure import OTHER, plain
from services.profile.http.disclosing import question, wanted_again
from services.profile.http.resources import CLASSES, PAGES, Asked, Wanted
from shared.rpc.paging import Page

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.:]{0,40}", fullmatch=True)
PARTS = st.sampled_from(["traits", "external_ids", "metadata"])


@st.composite
def questions(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> tuple[str, Wanted]:
    part = draw(PARTS)
    pages = PAGES.get(part)
    page = Page(Asked(draw(st.integers(1, pages.most)), ""), pages.places, b"") if pages else None
    include = draw(st.none() | st.frozensets(names, min_size=1, max_size=4))
    return part, Wanted(include, draw(st.booleans()), draw(st.sampled_from(CLASSES)), page)


@given(questions(), st.integers(0, 1_000))
def test_what_was_asked_is_asked_again_the_same(asked: tuple[str, Wanted], skipped: int) -> None:
    part, wanted = asked
    again = wanted_again(part, plain(question(wanted, skipped)))
    assert (again.page.size if again.page else 0) == (wanted.page.size if wanted.page else 0)
    assert again.skipped == (skipped if wanted.page else 0)
    assert msgspec.structs.replace(again, page=None, skipped=0) == msgspec.structs.replace(wanted, page=None)


@given(questions(st.sampled_from(["ann@example.com", "+49 431 1", "a" * 80])))
def test_a_name_that_is_not_plain_is_not_kept(asked: tuple[str, Wanted]) -> None:
    _, wanted = asked
    kept = plain(question(wanted, 0))
    assert (OTHER in kept) == (wanted.include is not None)
    assert not any("example" in word or "431" in word for word in kept)
