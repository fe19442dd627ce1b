"""Laws of tokens: only what the issuer signed proves anything, and whatever else comes is refused as what proves nothing."""

import asyncio
import base64
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import NotAuthenticated
from shared.instants import SECOND
from shared.local_tokens import LocalIssuer
from shared.rpc.tokens import Tokens, TrustedIssuer

NOW = 1_900_000_000 * SECOND
FOLDER = tempfile.TemporaryDirectory(prefix="c360-test-")
OURS = LocalIssuer(Path(FOLDER.name))
OURS.make()
TOKEN = OURS.token("mailer", 600, NOW)


def proven(token: str, now: int = NOW) -> str:
    issuers = [TrustedIssuer(**one) for one in OURS.trusted()]
    return asyncio.run(Tokens(issuers, lambda: now, lambda: 0.0).verify(token)).subject


def test_what_the_issuer_signed_proves_who_it_is_until_it_ends() -> None:
    assert proven(TOKEN) == "mailer"
    with pytest.raises(NotAuthenticated, match="expired"):
        proven(TOKEN, NOW + 3600 * SECOND)


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("AZaz09-_.="))
def test_a_token_that_was_altered_anywhere_proves_nothing_else(place: int, character: str) -> None:
    """The last bits of its base64 may be others: then it says the same."""
    altered = TOKEN[:place] + character + TOKEN[place + 1 :]
    try:
        assert proven(altered) == "mailer"
    except NotAuthenticated:
        return
    assert altered == TOKEN or place == len(TOKEN) - 1 or TOKEN[place + 1] == "."


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.fixed_dictionaries(
    {}, optional={"alg": VALUES | st.sampled_from(["ES256", "none", "HS256"]), "kid": VALUES, "crit": VALUES}
)
CLAIMS = st.fixed_dictionaries({}, optional={name: VALUES | st.just("customer360") for name in ("iss", "sub", "aud", "exp", "nbf")})


@given(
    st.one_of(
        st.text(max_size=200), st.tuples(HEADERS | VALUES, CLAIMS | VALUES).map(lambda two: f"{part(two[0])}.{part(two[1])}.AAAA")
    )
)
def test_whatever_else_comes_is_refused_and_breaks_nothing(token: str) -> None:
    with pytest.raises(NotAuthenticated):
        proven(token)


@given(st.integers(1_000, 8_000))
def test_what_is_nested_deeply_is_refused_too(depth: int) -> None:
    with pytest.raises(NotAuthenticated):
        proven(".".join(["e30", base64.urlsafe_b64encode(b"[" * (depth // 2)).rstrip(b"=").decode(), "AAAA"]))
