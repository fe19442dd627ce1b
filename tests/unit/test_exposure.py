"""A service that listens beyond its machine in clear, or for everybody, doesn't start unless it is told to."""

from typing import Any

import pytest

from shared.config import ConfigError, Settings
from shared.exposure import exposed

BASE: dict[str, Any] = {"database_url": "", "vault_url": "", "keyring_file": "", "metrics_address": "0.0.0.0:9101"}
TLS: dict[str, Any] = {"tls_certificate": "c", "tls_key": "k"}
JWT: dict[str, Any] = {"auth": "jwt", "token_issuers": "[]"}
BEYOND = ["0.0.0.0:50051", "[::]:50051", "10.1.2.3:50051", "ingest:50051"]


class WithHttp(Settings, frozen=True, kw_only=True):
    http_address: str = "127.0.0.1:8080"


@pytest.mark.parametrize("address", ["127.0.0.1:50051", "127.8.8.8:1", "localhost:50051", "[::1]:50051"])
def test_on_this_machine_nothing_is_asked(address: str) -> None:
    assert exposed(WithHttp(**BASE, grpc_address=address, http_address=address)) == []


@pytest.mark.parametrize("address", BEYOND)
def test_beyond_it_who_calls_has_to_prove_it_and_nobody_may_listen(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        exposed(Settings(**BASE, grpc_address=address))
    assert all(name in str(refused.value) for name in ("C360_GRPC_ADDRESS", "C360_AUTH", "C360_TLS_CERTIFICATE", "C360_INSECURE"))
    assert exposed(Settings(**BASE, **TLS, **JWT, grpc_address=address)) == []


@pytest.mark.parametrize(
    ("has", "lacks", "not_lacked"), [(TLS, "C360_INSECURE=anonymous", "cleartext"), (JWT, "C360_INSECURE=cleartext", "anonymous")]
)
def test_what_is_missing_alone_is_told(has: dict[str, Any], lacks: str, not_lacked: str) -> None:
    with pytest.raises(ConfigError, match=lacks) as refused:
        exposed(Settings(**BASE, **has, grpc_address=BEYOND[0]))
    assert not_lacked not in str(refused.value)


def test_an_http_door_beyond_needs_a_certificate_too() -> None:
    with pytest.raises(ConfigError, match="C360_HTTP_ADDRESS"):
        exposed(WithHttp(**BASE, grpc_address="127.0.0.1:50051", http_address=BEYOND[0]))


def test_the_operator_allows_one_by_its_name_and_it_is_told() -> None:
    with pytest.raises(ConfigError, match="C360_INSECURE=anonymous"):
        exposed(Settings(**BASE, grpc_address=BEYOND[0], insecure="cleartext"))
    assert exposed(Settings(**BASE, grpc_address=BEYOND[0], insecure="cleartext, anonymous")) == ["anonymous", "cleartext"]
    assert exposed(Settings(**BASE, **JWT, grpc_address=BEYOND[0], insecure="cleartext,anonymous")) == ["cleartext"]


@pytest.mark.parametrize(
    "url", ["nats://127.0.0.1:4222", "nats://localhost", "nats://[::1]:4222", "nats://127.0.0.1:1,nats://127.0.0.1:2"]
)
def test_a_broker_on_this_machine_may_let_in_everybody(url: str) -> None:
    assert exposed(Settings(**BASE, grpc_address="127.0.0.1:1", nats_url=url)) == []


@pytest.mark.parametrize("hosts", ["nats:4222", "10.1.2.3:4222", "127.0.0.1:4222,tls://nats-2:4222"])
def test_a_broker_beyond_it_is_talked_to_by_an_account_alone(hosts: str) -> None:
    with pytest.raises(ConfigError, match="C360_NATS_URL names no account") as refused:
        exposed(Settings(**BASE, grpc_address="127.0.0.1:1", nats_url=f"tls://{hosts}"))
    assert "cleartext" not in str(refused.value)
    assert exposed(Settings(**BASE, grpc_address="127.0.0.1:1", nats_url=f"tls://profile:secret@{hosts}")) == []
    assert exposed(Settings(**BASE, grpc_address="127.0.0.1:1", nats_url=f"tls://{hosts}", insecure="anonymous")) == ["anonymous"]


def test_a_broker_beyond_it_is_not_talked_to_in_clear_and_no_password_is_told() -> None:
    with pytest.raises(ConfigError, match="tls://") as refused:
        exposed(Settings(**BASE, grpc_address="127.0.0.1:1", nats_url="nats://profile:secret@nats:4222"))
    assert "secret" not in str(refused.value)
    assert exposed(Settings(**BASE, grpc_address="127.0.0.1:1", nats_url="nats://p:s@nats:4222", insecure="cleartext")) == [
        "cleartext"
    ]


@pytest.mark.parametrize("said", ["yes", "all", "true", "cleartext,everything"])
def test_there_is_no_word_for_all_of_it(said: str) -> None:
    with pytest.raises(ConfigError, match="C360_INSECURE knows anonymous, cleartext"):
        exposed(Settings(**BASE, grpc_address="127.0.0.1:1", insecure=said))
