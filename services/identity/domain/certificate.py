"""The certificate of an erasure: a signed text that says what was destroyed, what was looked for afterwards, and what remains."""

import json
from collections.abc import Mapping
from typing import Any

from services.identity.domain.erasure import Erasure
from shared.ids import to_text
from shared.instants import to_iso
from shared.notes import SIGNER, sign_note, verifier_key
from shared.vault import Keyring

TITLE = "customer360 erasure certificate v1"

# What an erasure leaves, by machine-readable word: on what ground.
GROUNDS: Mapping[str, str] = {
    "log_headers": "the log is append-only and provable: ids, kinds, clocks and keyed hashes of identifiers stay, in the clear",
    "consent_decisions": "evidence of what was decided, bound to keyed hashes of identifiers (GDPR Art. 7(1), 17(3)(e))",
    "suppressions": "keyed hashes of identifiers, so that nothing brings the customer back",
    "parked_messages": "could not be applied, so nobody knows whom they are about; sealed under the keys of their hours, and gone with them",
    "ingest_epoch_keys": "messages accepted meanwhile, and deleted ones that the broker has not overwritten, are sealed under them; "
    "a message that names the customer and comes after this is refused, and stays for as long as its own hour's key: as long "
    "after it came as `until` is after this",
    "quarantine_leftovers": "dead rows, write-ahead log and backups of the quarantine, of events that ever waited there, replayed "
    "or deleted, are sealed under the keys of its days",
    "broker_ciphertext": "CUSTOMER and its outbox keep what was sealed under the destroyed keys until it is of age",
    "vault_leftovers": "wrapped copies in dead rows, write-ahead log and backups of the vault, until its key-encryption key is retired",
}
GONE_WITH_EPOCHS = ("ingest_epoch_keys", "parked_messages")
GONE_WITH_DAYS = ("quarantine_leftovers",)


class GroundUnknown(Exception):
    """A newer release recorded that something remains of which this one can't say why."""


def text_of(erasure: Erasure, now: int) -> str:
    """Ends in a newline; the title, then JSON. Raises GroundUnknown."""
    content: dict[str, Any] = {
        "erasure_id": to_text(erasure.erasure_id),
        "request": {
            "request_id": erasure.request_id,
            **_named(erasure),
            "reason": erasure.reason,
            "requested_by": erasure.requested_by,
            "requested_at": to_iso(erasure.requested_at),
        },
        "policy": erasure.policy,
        "begun_at": to_iso(erasure.begun_at),
        "scope": _scope(erasure),
        "keys": {"destroyed": erasure.keys, "destroyed_at": to_iso(erasure.keys_destroyed_at)},
        "stores": [{"store": purge.store, "purged": purge.rows} for purge in erasure.purges],
        "replay_check": {
            "checked": sum(purge.checked for purge in erasure.purges),
            "readable_fields": sum(purge.readable for purge in erasure.purges),
        },
        "exceptions": [_exception(what, amount, erasure) for what, amount in sorted(erasure.kept.items())],
        "certified_at": to_iso(now),
    }
    return f"{TITLE}\n{json.dumps(content, indent=1)}\n"


def _named(erasure: Erasure) -> dict[str, str]:
    return {"identifier_hash": erasure.identifier.hex()} if erasure.identifier else {"customer_id": to_text(erasure.canonical)}


def _scope(erasure: Erasure) -> dict[str, Any]:
    scope: dict[str, Any] = {"customer_ids": [to_text(stream) for stream in erasure.streams], "identifiers": erasure.identifiers}
    if erasure.leftovers:
        scope["of_identifiers_only_seen_with_these"] = [to_text(stream) for stream in erasure.leftovers]
    return scope


def _exception(what: str, amount: int, erasure: Erasure) -> dict[str, Any]:
    if what not in GROUNDS:
        raise GroundUnknown(what)
    exception: dict[str, Any] = {"what": what, "amount": amount, "ground": GROUNDS[what]}
    if what in GONE_WITH_EPOCHS:
        exception["until"] = to_iso(erasure.epoch_keys_until)
    if what in GONE_WITH_DAYS:
        exception["until"] = to_iso(erasure.quarantine_keys_until)
    return exception


def certify(erasure: Erasure, now: int, keyring: Keyring) -> str:
    """Raises GroundUnknown."""
    return sign_note(text_of(erasure, now), SIGNER, keyring)


def verifier(keyring: Keyring) -> str:
    """What a reader needs to verify a certificate offline."""
    return verifier_key(SIGNER, keyring.public_key)
