"""Where callers show certificates: the one that our authority issued says who calls."""

from typing import Any

import grpc
import pytest

from shared.config import ConfigError, Settings
from shared.instants import now_us
from shared.rpc.security import secure
from tests.live.certificates import Authority
from tests.live.letting_in import Client, a_caller, connected, listening

BASE: dict[str, Any] = {
    "database_url": "", "vault_url": "", "keyring_file": "", "grpc_address": "", "metrics_address": "",
}  # fmt: skip


def credentials(authority: Authority, *names: str, issued_by: Authority | None = None) -> grpc.ChannelCredentials:
    key, certificate = (issued_by or authority).issue(*names)
    return grpc.ssl_channel_credentials(authority.pem.encode(), key.encode(), certificate.encode())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("ours")


@pytest.fixture(scope="module")
def settings(authority: Authority) -> Settings:
    key, certificate = authority.issue("localhost")
    return Settings(**BASE, auth="mtls", tls_certificate=certificate, tls_key=key, tls_client_ca=authority.pem)


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (("mailer.internal",), ("OK", "mailer")),
        (("other.internal", "mailer.internal"), ("OK", "mailer")),
        (("other.internal",), ("UNAUTHENTICATED", "CREDENTIAL_UNKNOWN")),
        (("mailer.internal", "shop.internal"), ("UNAUTHENTICATED", "CREDENTIAL_UNKNOWN")),
        ((), ("UNAUTHENTICATED", "NO_CREDENTIAL")),
    ],
)
async def test_a_certificate_says_who_calls(
    settings: Settings, authority: Authority, names: tuple[str, ...], answer: tuple[str, str]
) -> None:
    security = secure(settings, now_us)
    security.callers.learn([of_certificate("mailer"), of_certificate("shop")])
    async with connected(security, credentials(authority, *names)) as channel:
        assert await Client(channel).check() == answer
        ready = ("OK", f"ready for {answer[1]}") if answer[0] == "OK" else answer
        assert await Client(channel).check("prepared") == ready


async def test_who_has_no_certificate_of_our_authority_gets_no_connection(settings: Settings, authority: Authority) -> None:
    security = secure(settings, now_us)
    security.callers.learn([of_certificate("mailer")])
    stranger = credentials(authority, "mailer.internal", issued_by=Authority("theirs"))
    async with listening(security) as address:
        for shown in (stranger, grpc.ssl_channel_credentials(authority.pem.encode())):
            async with grpc.aio.secure_channel(address, shown) as channel:
                assert await Client(channel).check() == ("UNAVAILABLE", "")
        async with grpc.aio.insecure_channel(address) as channel:
            assert await Client(channel).check() == ("UNAVAILABLE", "")


def of_certificate(name: str) -> Any:
    return a_caller(name, purposes=("*",), issuer="", subject="", certificate_names=(f"{name}.internal",))


BAD: list[dict[str, Any]] = [
    {"auth": "jwt"},
    {"auth": "mtls"},
    {"auth": "mtls", "tls_certificate": "c", "tls_key": "k"},
    {"tls_certificate": "c"},
    {"tls_key": "k"},
    {"http_client_ca": "c"},
]


@pytest.mark.parametrize("said", BAD, ids="-".join)
def test_settings_that_would_let_in_nobody_or_everybody_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Settings(**BASE, **said)


def test_a_list_of_issuers_that_isnt_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="C360_TOKEN_ISSUERS"):
        secure(Settings(**BASE, auth="jwt", token_issuers='[{"issuer": "a"}]'), now_us)
