"""Laws of tokens: only what the issuer signed proves anything, and whatever else comes is refused as what proves nothing."""

import asyncio
import base64
import json
import tempfile
from pathlib import Path

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import NotAuthenticated
from shared.instants import SECOND
from shared.local_tokens import AHEAD_S, GRACE_S, LocalIssuer
from shared.rpc import keys
from shared.rpc.tokens import LEEWAY_US, MOST_CHARACTERS, Tokens, TrustedIssuer

NOW = 1_900_000_000 * SECOND
FOLDER = tempfile.TemporaryDirectory(prefix="c360-test-")
OURS = LocalIssuer(Path(FOLDER.name))
OURS.make(NOW)
TOKEN = OURS.token("mailer", 600, NOW)


def proven(token: str, now: int = NOW, issuer: LocalIssuer = OURS) -> str:
    issuers = [TrustedIssuer(**one) for one in issuer.trusted()]
    return asyncio.run(Tokens(issuers, lambda: now, lambda: 0.0).verify(token)).subject


def test_the_issuer_waits_for_services_as_long_as_they_take() -> None:
    assert AHEAD_S >= keys.REREAD_S
    assert GRACE_S * SECOND >= LEEWAY_US


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


def test_what_is_longer_than_any_head_takes_is_refused_unread() -> None:
    """Here and not at a door: gRPC itself refuses some heads of more than 8 KB, by chance."""
    with pytest.raises(NotAuthenticated, match="isn't one"):
        proven(TOKEN + "x" * MOST_CHARACTERS)


@given(st.integers(1_000, 8_000))
def test_what_is_nested_deeply_is_refused_too(depth: int) -> None:
    with pytest.raises(NotAuthenticated):
        proven(".".join(["e30", base64.urlsafe_b64encode(b"[" * (depth // 2)).rstrip(b"=").decode(), "AAAA"]))


@pytest.fixture
def issuer(tmp_path: Path) -> LocalIssuer:
    issuer = LocalIssuer(tmp_path)
    issuer.make(NOW)
    return issuer


def private_keys(folder: Path) -> list[bool]:
    return [bool(key["pem"]) for key in json.loads((folder / "token-key.json").read_text())["keys"]]


def test_a_new_key_is_known_before_it_signs_and_the_old_one_counts_until_its_last_token_ends(
    issuer: LocalIssuer, tmp_path: Path
) -> None:
    services = Tokens([TrustedIssuer(**one) for one in issuer.trusted()], lambda: NOW, lambda: seconds)
    seconds, old = 0.0, issuer.token("mailer", 600, NOW)
    issuer.token("desk", 60, NOW)
    assert asyncio.run(services.verify(old)).subject == "mailer"
    issuer.rotate(NOW)
    just_after = issuer.token("mailer", 60, NOW + SECOND)
    assert asyncio.run(services.verify(just_after)).subject == "mailer", "services look for keys every 10 seconds"
    seconds += AHEAD_S
    new = issuer.token("mailer", 600, NOW + AHEAD_S * SECOND)
    assert jwt.get_unverified_header(new)["kid"] != jwt.get_unverified_header(old)["kid"]
    assert asyncio.run(services.verify(new)).subject == "mailer"
    assert private_keys(tmp_path) == [False, True], "what signs nothing more can't be stolen"
    issuer.make(NOW + (600 + GRACE_S - 1) * SECOND)
    assert proven(old, issuer=issuer) == "mailer"
    issuer.make(NOW + (600 + GRACE_S) * SECOND)
    with pytest.raises(NotAuthenticated):
        proven(old, issuer=issuer)
    assert proven(new, issuer=issuer) == "mailer"


def test_a_key_that_leaked_is_trusted_no_more_at_once(issuer: LocalIssuer) -> None:
    old = issuer.token("mailer", 600, NOW)
    issuer.rotate(NOW, at_once=True)
    with pytest.raises(NotAuthenticated):
        proven(old, issuer=issuer)
    assert proven(issuer.token("mailer", 600, NOW), issuer=issuer) == "mailer"


def test_a_clock_that_was_set_back_keeps_nobody_from_a_token(issuer: LocalIssuer) -> None:
    issuer.rotate(NOW)
    for now in (NOW + 3600 * SECOND, NOW):
        assert proven(issuer.token("mailer", 600, now), now, issuer) == "mailer"


@settings(max_examples=20)  # each writes files
@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["token", "rotate", "make"])), max_size=15))
def test_whatever_was_signed_holds_until_it_ends_however_often_keys_change(steps: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory(prefix="c360-test-") as folder:
        issuer, now, given_out = LocalIssuer(Path(folder)), NOW, list[tuple[str, int]]()
        issuer.make(now)
        for pause_s, step in steps:
            now += pause_s * SECOND
            match step:
                case "token":
                    given_out.append((issuer.token("mailer", 300, now), now + 300 * SECOND))
                case "rotate":
                    issuer.rotate(now)
                case _:
                    issuer.make(now)
            assert all(proven(token, now, issuer) == "mailer" for token, ends_at in given_out if now < ends_at)
