"""Where the services are: the environment, else what the embedded stack wrote down, else the defaults.

With a data directory the defaults are no good: when its stack is stopped, somebody else's may listen there.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

from services.cli.errors import Misused, NotReachable

Service = Literal["ingest", "identity", "profile", "consent"]
SERVICES: tuple[Service, ...] = get_args(Service)
# Whose each log is. It has the name of its service, but for one.
LOGS: Final[Mapping[str, Service]] = {**{service: service for service in SERVICES}, "disclosures": "profile"}

DEFAULT_ADDRESSES: Mapping[Service, str] = {
    "ingest": "127.0.0.1:50051",
    "identity": "127.0.0.1:50052",
    "profile": "127.0.0.1:50053",
    "consent": "127.0.0.1:50054",
}
DEFAULT_HTTP_DOOR = "http://127.0.0.1:8080"


def find_address(service: Service, environ: Mapping[str, str]) -> str:
    from_environment = environ.get(f"C360_{service.upper()}_ADDRESS")
    if from_environment:
        return from_environment
    directory = _data_dir(environ)
    if not environ.get("C360_DATA_DIR") and not directory.exists():
        return DEFAULT_ADDRESSES[service]
    recorded = _recorded_by_stack(directory).get(service)
    if not isinstance(recorded, str):
        raise Misused("ENDPOINTS_UNREADABLE", f"{directory / 'endpoints.json'} does not say where {service} is")
    return recorded


def find_http_door(environ: Mapping[str, str]) -> str:
    """The URL of ingest's HTTP door, without a path."""
    if environ.get("C360_INGEST_URL"):
        return environ["C360_INGEST_URL"].rstrip("/")
    directory = _data_dir(environ)
    if not environ.get("C360_DATA_DIR") and not directory.exists():
        return DEFAULT_HTTP_DOOR
    recorded = _recorded_by_stack(directory).get("ingest_http")
    if not isinstance(recorded, str):
        raise Misused("ENDPOINTS_UNREADABLE", f"{directory / 'endpoints.json'} does not say where ingest's HTTP door is")
    return recorded


def recorded_postgres(environ: Mapping[str, str]) -> str:
    """Where the PostgreSQL of the embedded stack is."""
    recorded = _recorded_by_stack(_data_dir(environ)).get("postgres")
    if not isinstance(recorded, str):
        raise Misused("ENDPOINTS_UNREADABLE", f"{_data_dir(environ) / 'endpoints.json'} does not say where PostgreSQL is")
    return recorded


def find_token(address: str, environ: Mapping[str, str]) -> str:
    """What proves who we are to a service at an address: of the environment, else, of the embedded stack's services alone, the
    operator's. Empty: there is none."""
    if token := environ.get("C360_TOKEN"):
        return token
    if named := environ.get("C360_TOKEN_FILE"):
        return _read_token(Path(named))
    directory = _data_dir(environ)
    local = directory / "secrets" / "operator-token"
    if address not in _recorded_addresses(directory):
        return ""
    try:
        return _read_token(local) if local.exists() else ""
    except PermissionError:
        return ""


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise Misused("TOKEN_UNREADABLE", f"{path}: {error}") from error


def _recorded_addresses(directory: Path) -> list[object]:
    try:
        return [recorded for service, recorded in _recorded_by_stack(directory).items() if service in SERVICES]
    except (Misused, NotReachable):
        return []


def find_write_key(environ: Mapping[str, str]) -> str:
    if environ.get("C360_WRITE_KEY"):
        return environ["C360_WRITE_KEY"]
    named = environ.get("C360_WRITE_KEY_FILE")
    path = Path(named) if named else _data_dir(environ) / "write-key"
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise Misused(
            "WRITE_KEY_MISSING",
            f"no --write-key, no C360_WRITE_KEY, and no file {path}; `c360 sources create NAME` makes a key",
        ) from None


def _data_dir(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("C360_DATA_DIR") or ".data")


def _recorded_by_stack(directory: Path) -> Mapping[str, object]:
    path = directory / "endpoints.json"
    try:
        recorded = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _not_running(directory) from None
    except (OSError, ValueError) as error:
        raise Misused("ENDPOINTS_UNREADABLE", f"{path}: {error}") from error
    if _is_abandoned(directory / "lock"):
        raise _not_running(directory)
    return recorded if isinstance(recorded, dict) else {}


def _is_abandoned(lock: Path) -> bool:
    """A stack that was killed outright leaves its endpoints behind, but the kernel drops its lock."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held; or nothing that this user could find out
        return False
    return True


def _not_running(directory: Path) -> NotReachable:
    failure = NotReachable("STACK_NOT_RUNNING", f"the stack in {directory.absolute()} is not running")
    failure.hint = "Start it with `make run`. C360_DATA_DIR names another one; C360_<SERVICE>_ADDRESS names a service itself."
    return failure
