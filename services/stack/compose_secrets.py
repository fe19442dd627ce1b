"""Makes the passwords of the containers, once: `python -m services.stack.compose_secrets` in docker-compose.yml.

Each reader has a folder, and a volume, of its own, so a service can't read another one's password.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from services.stack.broker_accounts import ACCOUNTS, NODE, OPERATOR, authorization, cluster
from services.stack.files import make_private_directory, read_or_make_password, write_private
from services.stack.ports import SERVICES
from shared.events.callers import OPERATOR as OPERATOR_CALLER
from shared.instants import now_us
from shared.local_tokens import KEYS_FILE, LONGEST_S, PUBLIC, LocalIssuer

ROOT = Path("/secrets")
SERVER = "postgres:5432"
BROKERS = "nats"  # unless C360_NATS_HOSTS tells several, with commas between them
CLUSTER_PORT = 6222
PUBLISHED = Path("/issuer")  # where services find the keys of the installation's issuer
SUPERUSER = "postgres"


def make_secrets(root: Path, brokers: Sequence[str] = (BROKERS,)) -> None:
    read_or_make_password(make_private_directory(root / "grafana") / "password")
    superuser = _share(root, "postgres", SUPERUSER)
    write_private(root / "migrate" / "admin-url", _url(SUPERUSER, superuser, "postgres"))
    for service in SERVICES:
        password = read_or_make_password(root / "migrate" / f"{service}-password")
        folder = make_private_directory(root / service)
        write_private(folder / "database-url", _url(f"c360_{service}", password, "c360"))
        write_private(folder / "vault-url", _url(f"c360_{service}", password, "c360_vault"))
    _make_accounts(root, brokers)
    _make_issuer(root / "issuer")


def _make_accounts(root: Path, brokers: Sequence[str]) -> None:
    """The brokers' files have all passwords; each service has its own, and `nats` has the operator's, to look and to restore by."""
    broker = make_private_directory(root / "nats")
    folders = {account: root / account for account in SERVICES} | {OPERATOR: broker}
    passwords = {account: read_or_make_password(broker / f"{account}-password") for account in ACCOUNTS}
    for account, folder in folders.items():
        urls = [f"nats://{account}:{passwords[account]}@{host}:4222" for host in brokers]
        write_private(folder / "nats-url", ",".join(urls) + "\n")
    write_private(broker / "accounts.conf", authorization(passwords.__getitem__))
    routes = [f"{host}:{CLUSTER_PORT}" for host in brokers]
    between = read_or_make_password(broker / f"{NODE}-password")
    write_private(broker / "cluster.conf", cluster(f"0.0.0.0:{CLUSTER_PORT}", routes, between))


def _make_issuer(folder: Path) -> None:
    """Its private keys and the operator's token are for `c360` alone; services get what they verify by."""
    public = make_private_directory(make_private_directory(folder) / PUBLIC)
    issuer = LocalIssuer(folder)
    issuer.make(now_us())
    write_private(public / "issuers.json", json.dumps(issuer.trusted(PUBLISHED / KEYS_FILE)) + "\n")
    write_private(folder / "operator-token", issuer.token(OPERATOR_CALLER, LONGEST_S, now_us()) + "\n")


def _share(root: Path, reader: str, name: str) -> str:
    """The password as migrate knows it, and a copy for its other reader."""
    password = read_or_make_password(make_private_directory(root / "migrate") / f"{name}-password")
    write_private(make_private_directory(root / reader) / "password", password)
    return password


def _url(user: str, password: str, database: str) -> str:
    return f"postgresql://{user}:{password}@{SERVER}/{database}"


if __name__ == "__main__":
    make_secrets(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT, os.environ.get("C360_NATS_HOSTS", BROKERS).split(","))
