"""A credential of a channel backend goes nowhere in clear, is asked for again in time, and isn't printed."""

import threading
from pathlib import Path
from typing import Any

import pytest
from customer360_client import Settings, Tls, token_file
from customer360_client.credentials import Token, bearer, channel_credentials

ELSEWHERE = "profile.example.com:50053"


@pytest.mark.parametrize("credential", [{"token": "t"}, {"write_key": "w"}, {"token": lambda: "t"}])
def test_no_credential_goes_in_clear_beyond_this_machine(credential: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="in clear"):
        channel_credentials(Settings(**credential), ELSEWHERE)
    assert channel_credentials(Settings(**credential), "127.0.0.1:50053") is None
    assert channel_credentials(Settings(**credential, in_clear=True), ELSEWHERE) is None
    assert channel_credentials(Settings(**credential, tls=Tls()), ELSEWHERE) is not None
    assert channel_credentials(Settings(), ELSEWHERE) is None


def test_a_token_is_asked_for_when_it_is_old_or_was_refused(tmp_path: Path) -> None:
    file, now = tmp_path / "token", 0.0
    file.write_text("first\n")
    token = Token(Settings(token=token_file(file), token_age_s=60), lambda: now)
    assert token.get() == "first"
    file.write_text("second\n")
    now = 59.0
    assert token.get() == "first"
    now = 60.0
    assert token.get() == "second"
    file.write_text("third\n")
    assert token.renew()
    assert token.get() == "third"


def test_one_that_is_fixed_has_no_other() -> None:
    token = Token(Settings(token="fixed"), lambda: 0.0)
    assert not token.renew()
    assert bearer(token.get()) == (("authorization", "Bearer fixed"),)
    assert bearer(None) == ()


def test_many_threads_ask_for_one_token_once() -> None:
    asked: list[int] = []

    def told() -> str:
        asked.append(1)
        return "one"

    token = Token(Settings(token=told), lambda: 0.0)
    threads = [threading.Thread(target=token.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1


def test_settings_print_no_secret() -> None:
    printed = repr(Settings(token="secret-token", write_key="secret-write-key", tls=Tls(key=b"secret-key")))
    assert "secret" not in printed
