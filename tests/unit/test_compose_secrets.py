"""The containers' passwords: made once, and each service gets only its own."""

from pathlib import Path

from services.stack.broker_accounts import ACCOUNTS
from services.stack.compose_secrets import make_secrets
from services.stack.ports import SERVICES


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text().strip() for path in root.rglob("*") if path.is_file()}


def test_a_second_run_changes_no_password(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    first = contents(tmp_path)
    make_secrets(tmp_path)
    assert contents(tmp_path) == first


def test_a_service_sees_no_password_but_its_own(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    made = contents(tmp_path)
    for service in SERVICES:
        seen = " ".join(text for path, text in made.items() if path.startswith(f"{service}/"))
        assert [other for other in SERVICES if made[f"migrate/{other}-password"] in seen] == [service]
        assert made["migrate/postgres-password"] not in seen
        assert [account for account in ACCOUNTS if made[f"nats/{account}-password"] in seen] == [service]
