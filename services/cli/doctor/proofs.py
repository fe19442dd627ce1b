"""What expires: the token that we prove ourselves by, and certificates; and how old the newest backup is."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from services.cli.doctor.finding import Finding, of_backup, of_expiry
from services.cli.endpoints import SERVICES, find_address, find_token
from services.cli.errors import CommandError

SOON_TOKEN_S: Final = 24 * 3600.0
SOON_CERTIFICATE_S: Final = 14 * 24 * 3600.0


def token(environ: Mapping[str, str], now: float) -> list[Finding]:
    """Of each token once; what is no JWT isn't ours to judge."""
    import jwt

    found: list[Finding] = []
    try:
        tokens = {find_token(find_address(service, environ), environ) for service in SERVICES} - {""}
    except CommandError as error:
        return [Finding("wrong", "token", str(error), "C360_TOKEN_FILE: name one that can be read")]
    for said in tokens:
        try:
            ends = jwt.decode(said, options={"verify_signature": False}).get("exp")
        except jwt.PyJWTError:
            found.append(Finding("wrong", "token", "is no JSON Web Token", "C360_TOKEN or C360_TOKEN_FILE: put a whole one there"))
            continue
        if ends is not None:
            found += of_expiry("token", ends - now, SOON_TOKEN_S, "get a new one: docs/callers.md")
    return found


def certificates(environ: Mapping[str, str], timeout_s: float, now: float) -> list[Finding]:
    if not environ.get("C360_TLS_CA_FILE"):
        return []
    found: list[Finding] = []
    for service in SERVICES:
        address = find_address(service, environ)
        try:
            ends = _certificate_ends(address, timeout_s)
        except (OSError, ValueError):
            continue  # that it doesn't answer is told already
        to_do = f"give {service} a new one (C360_TLS_CERTIFICATE_FILE, with its key), and send it SIGHUP"
        found += of_expiry(f"certificate of {service}", ends - now, SOON_CERTIFICATE_S, to_do)
    own = environ.get("C360_TLS_CERTIFICATE_FILE")
    if own and os.access(own, os.R_OK):
        found += of_expiry("our certificate", _ends(Path(own).read_bytes()) - now, SOON_CERTIFICATE_S, "get a new one")
    return found


def _certificate_ends(address: str, timeout_s: float) -> float:
    """Whatever it is worth: whether it is trusted is found out by whoever calls."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), timeout_s) as plain, context.wrap_socket(plain) as wrapped:
        shown = wrapped.getpeercert(binary_form=True)
    return _ends(ssl.DER_cert_to_PEM_cert(shown or b"").encode())


def _ends(pem: bytes) -> float:
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def backups(paths: Sequence[Path], now: float) -> list[Finding]:
    """Each a file, or a folder of them, of which the newest counts."""
    if not paths:
        return [Finding("unseen", "backup", "nobody said where backups are", "--backup PATH, once for each")]
    return [finding for path in paths for finding in of_backup(str(path), _age_h(path, now))]


def _age_h(path: Path, now: float) -> float | None:
    files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path] if path.exists() else []
    return min(((now - one.stat().st_mtime) / 3600 for one in files), default=None)


def wall() -> float:
    return time.time()
