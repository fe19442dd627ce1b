"""The containers' passwords: made once, and each service gets only its own."""

import json
from pathlib import Path

import jwt

from services.stack.broker_accounts import ACCOUNTS
from services.stack.compose_secrets import make_secrets
from services.stack.ports import SERVICES
from shared.local_tokens import AUDIENCE


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text().strip() for path in root.rglob("*") if path.is_file()}


def test_a_second_run_changes_no_password(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    first = contents(tmp_path)
    make_secrets(tmp_path)
    again = contents(tmp_path)
    for token in ("issuer/operator-token", "issuer/token-key.json"):  # a year from now on, each time; the key notes until when
        assert first.pop(token)
        assert again.pop(token)
    assert again == first


def test_passwords_that_were_removed_are_made_anew_and_no_others(tmp_path: Path) -> None:
    """docs/operations.md, New passwords."""
    make_secrets(tmp_path)
    first = contents(tmp_path)
    removed = ("migrate/profile-password", "nats/profile-password")
    for name in removed:
        (tmp_path / name).unlink()
    make_secrets(tmp_path)
    again = contents(tmp_path)
    changed = {name for name in first if again[name] != first[name]} - {"issuer/operator-token", "issuer/token-key.json"}
    assert changed == {*removed, "profile/database-url", "profile/vault-url", "profile/nats-url", "nats/accounts.conf"}
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert all(f"/secrets/{name}" in text for name in removed)


def test_a_service_sees_no_password_but_its_own(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    made = contents(tmp_path)
    for service in SERVICES:
        seen = " ".join(text for path, text in made.items() if path.startswith(f"{service}/"))
        assert [other for other in SERVICES if made[f"migrate/{other}-password"] in seen] == [service]
        assert made["migrate/postgres-password"] not in seen
        assert [account for account in ACCOUNTS if made[f"nats/{account}-password"] in seen] == [service]


def test_services_get_what_they_verify_tokens_by_and_nothing_that_signs(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    made = contents(tmp_path)
    public = {path.rpartition("/")[2]: text for path, text in made.items() if path.startswith("issuer/public/")}
    assert public.keys() == {"token-keys.json", "issuers.json"}
    assert json.loads(public["issuers.json"])[0]["keys"] == "/issuer/token-keys.json"
    [key] = json.loads(public["token-keys.json"])["keys"]
    assert "d" not in key
    claims = jwt.decode(made["issuer/operator-token"], jwt.PyJWK(key), algorithms=[key["alg"]], audience=AUDIENCE)
    assert claims["sub"] == "operator"
