"""Where the services are: the environment, else what the embedded stack wrote down, else the defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from services.cli.errors import Misused

Service = Literal["ingest", "identity", "profile", "consent"]
SERVICES: tuple[Service, ...] = get_args(Service)

DEFAULT_ADDRESSES: Mapping[Service, str] = {
    "ingest": "127.0.0.1:50051",
    "identity": "127.0.0.1:50052",
    "profile": "127.0.0.1:50053",
    "consent": "127.0.0.1:50054",
}


def find_address(service: Service, environ: Mapping[str, str]) -> str:
    from_environment = environ.get(f"C360_{service.upper()}_ADDRESS")
    if from_environment:
        return from_environment
    recorded = _recorded_by_stack(_data_dir(environ) / "endpoints.json").get(service)
    return recorded if isinstance(recorded, str) else DEFAULT_ADDRESSES[service]


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
            f"no --write-key, no C360_WRITE_KEY, and no file {path}; `c360 sources register NAME` makes a key",
        ) from None


def _data_dir(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("C360_DATA_DIR") or ".data")


def _recorded_by_stack(path: Path) -> Mapping[str, object]:
    try:
        recorded = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Misused("ENDPOINTS_UNREADABLE", f"{path}: {error}") from error
    return recorded if isinstance(recorded, dict) else {}
