"""The environment of each process: what a platform team sets by hand elsewhere."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from services.stack.errors import MisconfiguredError
from services.stack.files import make_private_directory, read_or_make_password, write_private
from services.stack.ports import HOST, SERVICES, addresses_of, ports_of, service_of
from services.stack.postgres import Postgres
from shared.config import ConfigError, LogLevel, Partitions, Ratio, read_settings
from shared.events.callers import OPERATOR
from shared.instants import now_us
from shared.local_tokens import LONGEST_S, LocalIssuer

REPOSITORY = Path(__file__).resolve().parents[2]
KEPT = (
    "C360_PARTITIONS",
    "C360_LOG_LEVEL",
    "C360_OTLP_ENDPOINT",
    "C360_TRACE_RATIO",
)  # the user's own choices; every other C360_ variable is ours to set

MOST_REPLICAS = 3  # of a stream

PASSWORDS = frozenset(f"C360_{service.upper()}_PASSWORD" for service in SERVICES)
SECRET = PASSWORDS | {"C360_NATS_URL", "C360_DATABASE_URL", "C360_VAULT_URL", "C360_ADMIN_URL"}

StackAuth = Literal["none", "jwt"]  # certificates are for those who have an authority


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    partitions: Partitions = 4
    log_level: LogLevel = "info"
    otlp_endpoint: str = ""
    trace_ratio: Ratio = 0.01
    auth: StackAuth = "jwt"


class Passwords:
    """Made once, one file each, mode 0600."""

    def __init__(self, directory: Path) -> None:
        self.directory = make_private_directory(directory)

    def of(self, role: str) -> str:
        return read_or_make_password(self.directory / f"{role}-password")

    def of_broker(self, account: str) -> str:
        return self.of(f"broker-{account}")

    def broker_url(self, account: str, ports: Mapping[str, int]) -> str:
        """Of all nodes, with commas between them."""
        return ",".join(f"nats://{account}:{self.of_broker(account)}@{address}" for address in addresses_of(ports, "nats"))

    @property
    def keyring_file(self) -> Path:
        return self.directory / "keyring.json"

    @property
    def access_tokens_file(self) -> Path:
        return self.directory / "access-tokens.json"

    @property
    def operator_token_file(self) -> Path:
        return self.directory / "operator-token"

    @property
    def sms_secrets_file(self) -> Path:
        return self.directory / "sms-secrets"

    @property
    def opendsr_file(self) -> Path:
        return self.directory / "opendsr.json"

    def make_tokens(self) -> str:
        """Whose tokens services trust, as C360_TOKEN_ISSUERS has it; `c360` finds the operator's."""
        issuer = LocalIssuer(self.directory)
        issuer.make(now_us())
        write_private(self.operator_token_file, issuer.token(OPERATOR, LONGEST_S, now_us()) + "\n")
        return json.dumps(issuer.trusted())


def service_settings(
    process: str, ports: dict[str, int], postgres: Postgres, passwords: Passwords, auth: dict[str, str]
) -> dict[str, str]:
    """Of a service, or of one of its processes (`ports.processes_of`)."""
    name = service_of(process)
    user, password = f"c360_{name}", passwords.of(name)
    settings = {
        "C360_NATS_URL": passwords.broker_url(name, ports),
        "C360_NATS_REPLICAS": str(min(len(addresses_of(ports, "nats")), MOST_REPLICAS)),
        "C360_DATABASE_URL": postgres.url(user, password, "c360"),
        "C360_VAULT_URL": postgres.url(user, password, "c360_vault"),
        "C360_KEYRING_FILE": str(passwords.keyring_file),
        **{f"C360_{what.upper()}_ADDRESS": f"{HOST}:{ports[kept]}" for what, kept in ports_of(process).items()},
    }
    tokens = {"C360_ACCESS_TOKENS_FILE": str(passwords.access_tokens_file)} if name == "profile" else {}
    if name == "consent":
        tokens = {"C360_SMS_SECRETS_FILE": str(passwords.sms_secrets_file), "C360_OPENDSR_FILE": str(passwords.opendsr_file)}
    return settings | tokens | auth | _kept()


def auth_settings(auth: StackAuth, passwords: Passwords) -> dict[str, str]:
    if auth == "none":
        passwords.operator_token_file.unlink(missing_ok=True)
        return {}
    return {"C360_AUTH": auth, "C360_TOKEN_ISSUERS": passwords.make_tokens()}


def migrate_settings(postgres: Postgres, passwords: Passwords) -> dict[str, str]:
    return {
        "C360_ADMIN_URL": postgres.admin_url,
        "C360_KEYRING_FILE": str(passwords.keyring_file),
        **{f"C360_{service.upper()}_PASSWORD": passwords.of(service) for service in SERVICES},
        **_kept(),
    }


def read_choices() -> Choices:
    """Before anything starts: a service would end at once, again and again. Raises MisconfiguredError."""
    try:
        return read_settings(Choices, _of_environment((*KEPT, "C360_AUTH")))
    except ConfigError as error:
        raise MisconfiguredError(str(error)) from error


def as_files(name: str, settings: dict[str, str], directory: Path) -> dict[str, str]:
    """With the names of files instead of passwords, which stand then in no environment: it is dumped too easily."""
    kept = {variable: value for variable, value in settings.items() if variable not in SECRET}
    for variable in settings.keys() & SECRET:
        file = directory / f"{name}-{variable.removeprefix('C360_').lower().replace('_', '-')}"
        write_private(file, settings[variable] + "\n")
        kept[f"{variable}_FILE"] = str(file)
    return kept


def whole_environment(settings: dict[str, str]) -> dict[str, str]:
    """The settings on top of the user's own variables, with our packages importable from any working directory."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("C360_")}
    paths = [str(REPOSITORY), str(REPOSITORY / "protos" / "gen"), *filter(None, [inherited.get("PYTHONPATH")])]
    return inherited | {"PYTHONPATH": os.pathsep.join(paths)} | settings


def _kept() -> dict[str, str]:
    return _of_environment(KEPT)


def _of_environment(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}
