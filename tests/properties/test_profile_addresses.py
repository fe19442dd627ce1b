"""What an address of the HTTP Profile API names is what was put into it, and nothing of it prints."""

from contextlib import suppress
from functools import partial
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.http.address import PARTS, target_of
from services.profile.http.queries import KNOWN, Query, query_of, rfc3339
from shared.errors import InvalidInput, NotFound
from shared.instants import from_iso

encodable = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
YEAR_1, YEAR_9999 = from_iso("0001-01-01T00:00:00Z"), from_iso("9999-12-31T23:59:59.999999Z")


def path(space: str, person: str, part: str) -> bytes:
    return f"/v1/spaces/{space}/collections/users/profiles/{person}/{part}".encode()


@given(namespace=encodable, value=encodable, part=st.sampled_from(PARTS), slash=st.sampled_from(["", "/"]))
def test_whatever_a_value_holds_it_arrives_as_it_is(namespace: str, value: str, part: str, slash: str) -> None:
    person = f"{namespace}:{value}"
    target = target_of(path("main", quote(person, safe=""), part + slash))
    assert (target.space, target.person, target.part) == ("main", person, part)
    assert repr(target) == f"<Target {part} sealed>"


@given(st.binary(max_size=60))
def test_any_bytes_are_an_address_or_refused(raw: bytes) -> None:
    for address in (raw, b"/" + raw, path("main", "%s", "traits") % raw):
        with suppress(InvalidInput, NotFound):
            target_of(address)


@pytest.mark.parametrize("person", ["user_id:%FF", "user_id:%C3", "user_id:%", "user_id:%4", "user_id:%zz"])
def test_what_is_no_text_is_refused(person: str) -> None:
    with pytest.raises(InvalidInput, match="UTF-8"):
        target_of(path("main", person, "traits"))


@given(st.integers(YEAR_1, YEAR_9999))
def test_an_instant_that_was_answered_can_be_asked_for(instant: int) -> None:
    query = query_of(urlencode({"valid_at": rfc3339(instant)}).encode(), "traits")
    assert query.instant("valid_at") == instant


@given(raw=st.binary(max_size=60), part=st.sampled_from(sorted(KNOWN)))
def test_any_bytes_are_a_query_or_refused(raw: bytes, part: str) -> None:
    for query in (raw, b"limit=" + raw, b"valid_at=" + raw, b"at_least_as_fresh=" + raw, b"include=" + raw, b"rules=" + raw):
        with suppress(InvalidInput):
            asked = query_of(query, part)
            for read in (
                asked.fresh,
                partial(asked.limit, 1, 200),
                partial(asked.instant, "valid_at"),
                partial(asked.names, "include"),
                asked.rules,
            ):
                with suppress(InvalidInput):
                    read()


def test_an_offset_whose_plus_was_not_encoded_is_understood() -> None:
    assert Query({"valid_at": "2026-03-03T10:02:00 01:00"}, ()).instant("valid_at") == from_iso("2026-03-03T09:02:00Z")


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T00:00:00", "2026-01-01", "2026-W01-1", "20260101T000000Z", "2026-01-01T00:00Z", "2026-01-01T00:00:60Z", "now", ""],
)
def test_an_instant_says_its_offset_or_is_refused(text: str) -> None:
    """Nobody knows whose midnight is meant."""
    with pytest.raises(InvalidInput, match="offset from UTC") as refused:
        Query({"valid_at": text}, ()).instant("valid_at")
    assert refused.value.reason == "INSTANT_INVALID"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("valid-at=2026-01-01T00:00:00Z", "PARAMETER_UNKNOWN"),
        ("limit=1&limit=2", "PARAMETER_REPEATED"),
        ("a" * 400, "PARAMETER_UNKNOWN"),
        ("&".join(["at_least_as_fresh=ingest/0/1"] * 400), "QUERY_INVALID"),
        ("include=%FF", "QUERY_INVALID"),
    ],
)
def test_a_query_that_would_mean_something_else_is_refused(query: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        query_of(query.encode(), "traits")
    assert refused.value.reason == reason
