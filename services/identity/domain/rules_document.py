"""The document in which people write rules, and what is kept of it. Pure.

```json
{"namespaces": [{"name": "user_id", "limit": 1},
                {"name": "email", "limit": 5, "shared_after": 3, "owned_by": ["user_id"], "blocked": ["info@shop.example"]},
                {"name": "*", "limit": 5, "window_days": 7, "shared_after": 3},
                {"name": "anonymous_id", "limit": 100, "shared_after": 2, "device": true}],
 "max_cluster": 200,
 "max_sightings": 1000,
 "matching": {"on": true, "link_weight": 12.0, "review_weight": 4.0, "witness": true, "one_per_source": ["crm"]}}
```
Strongest first; `*` is every namespace that isn't listed. What is kept has keyed hashes in place of blocked values
(`blocked_hashes`), and is a document as well: activating it again gives the same rules.
"""

from typing import Final

import msgspec

from services.identity.graph.rules import MAX_CLUSTER_IDENTIFIERS, MAX_SIGHTINGS, Matching, Namespace, Rules
from shared.errors import InvalidInput
from shared.identifiers import HASH_BYTES, NAMESPACE, PLACEHOLDERS, ZEROS, hash_of, normalise
from shared.instants import DAY
from shared.keys_once import require_keys_once

OTHERS: Final = "*"
MAX_DOCUMENT_BYTES: Final = 1_000_000  # it is an event of the log
MAX_NAMESPACES: Final = 100
MAX_OWNERS: Final = 10  # each is weighed for every region that is settled
MAX_BLOCKED: Final = 10_000  # of all namespaces; each is compared with every identifier, and stays in memory
MOST_SIGHTINGS: Final = 10_000  # of one value; a new one is weighed with as many, some 25 ms for a thousand
MAX_WEIGHT: Final = 100  # bits; nothing weighs more
MAX_SOURCES: Final = 1_000
MAX_WINDOW_DAYS: Final = 3_660  # ten years, beyond which `ever` says it better


class NamespaceRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """As `Namespace`, with the window in days and with blocked values."""

    name: str
    limit: int | None = None
    window_days: int | None = None
    shared_after: int | None = None
    values_an_owner: int = 2
    device: bool = False
    owned_by: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    blocked_hashes: tuple[str, ...] = ()  # hexadecimal


class RulesDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    namespaces: tuple[NamespaceRule, ...]
    max_cluster: int = MAX_CLUSTER_IDENTIFIERS
    max_sightings: int = MAX_SIGHTINGS
    matching: Matching = Matching()


DOCUMENTS: Final = msgspec.json.Decoder(RulesDocument)


def read(text: str, key: bytes) -> RulesDocument:
    """What is kept of a document. Raises InvalidInput (RULES_INVALID); no text quotes a value."""
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise _invalid(f"a document of rules is at most {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = DOCUMENTS.decode(text)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except msgspec.DecodeError:
        raise _invalid("not JSON") from None
    require_keys_once(text, reason="RULES_INVALID")
    kept = tuple(_without_values(rule, key) for rule in document.namespaces)
    document = msgspec.structs.replace(document, namespaces=kept)
    _check(document)
    return document


def rules_of(document: RulesDocument, version: int) -> Rules:
    """Of what is kept."""
    names = [rule.name for rule in document.namespaces]
    return Rules(
        version=version,
        namespaces=tuple(_namespace(rule) for rule in document.namespaces if rule.name != OTHERS),
        others=next(_namespace(rule) for rule in document.namespaces if rule.name == OTHERS),
        others_rank=names.index(OTHERS),
        max_cluster=document.max_cluster,
        max_sightings=document.max_sightings,
        matching=document.matching,
        blocked=frozenset(bytes.fromhex(value) for rule in document.namespaces for value in rule.blocked_hashes),
    )


def document_of(rules: Rules) -> RulesDocument:
    """Of the shipped rules, which block nothing."""
    ranked = [*rules.namespaces[: rules.others_rank], rules.others, *rules.namespaces[rules.others_rank :]]
    return RulesDocument(
        namespaces=tuple(_rule(namespace) for namespace in ranked),
        max_cluster=rules.max_cluster,
        max_sightings=rules.max_sightings,
        matching=rules.matching,
    )


def to_json(document: RulesDocument) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode()


def _namespace(rule: NamespaceRule) -> Namespace:
    return Namespace(
        name=rule.name,
        limit=rule.limit,
        window_us=None if rule.window_days is None else rule.window_days * DAY,
        shared_after=rule.shared_after,
        values_an_owner=rule.values_an_owner,
        device=rule.device,
        owned_by=rule.owned_by,
    )


def _rule(namespace: Namespace) -> NamespaceRule:
    return NamespaceRule(
        name=namespace.name,
        limit=namespace.limit,
        window_days=None if namespace.window_us is None else namespace.window_us // DAY,
        shared_after=namespace.shared_after,
        values_an_owner=namespace.values_an_owner,
        device=namespace.device,
        owned_by=namespace.owned_by,
    )


def _without_values(rule: NamespaceRule, key: bytes) -> NamespaceRule:
    hashes = set(rule.blocked_hashes)
    for place, value in enumerate(rule.blocked, 1):
        if value.strip().lower() in PLACEHOLDERS or ZEROS.match(value.strip()):
            continue  # never an identifier, under any rules
        try:
            hashes.add(hash_of(normalise(rule.name, value), key).hex())
        except InvalidInput:
            raise _invalid(
                f"blocked value {place} of {rule.name} is no usable value: write it as it is sent, a phone number with its country code"
            ) from None
    return msgspec.structs.replace(rule, blocked=(), blocked_hashes=tuple(sorted(hashes)))


def _check(document: RulesDocument) -> None:
    names = [rule.name for rule in document.namespaces]
    if names.count(OTHERS) != 1:
        raise _invalid('list the namespace "*" once: how those link that are not listed, and how strongly')
    if len(set(names)) != len(names) or len(names) > MAX_NAMESPACES:
        raise _invalid(f"list each namespace once, and {MAX_NAMESPACES} at most")
    if sum(len(rule.blocked_hashes) for rule in document.namespaces) > MAX_BLOCKED:
        raise _invalid(f"at most {MAX_BLOCKED} values can be blocked")
    if not 2 <= document.max_cluster <= 10_000:
        raise _invalid("max_cluster is 2 to 10000 identifiers")
    if not 2 <= document.max_sightings <= MOST_SIGHTINGS:
        raise _invalid(f"max_sightings is 2 to {MOST_SIGHTINGS}")
    if not 0 <= document.matching.review_weight <= document.matching.link_weight <= MAX_WEIGHT:
        raise _invalid(f"of matching, review_weight and link_weight are 0 to {MAX_WEIGHT} bits, and the link's is not below")
    if len(document.matching.one_per_source) > MAX_SOURCES:
        raise _invalid(f"one_per_source names at most {MAX_SOURCES} sources")
    for rule in document.namespaces:
        _check_rule(rule)


def _check_rule(rule: NamespaceRule) -> None:
    if rule.name != OTHERS and not NAMESPACE.fullmatch(rule.name):
        raise _invalid("a namespace is 1 to 64 letters, digits, '_', '.', '-'")
    if rule.name == OTHERS and rule.blocked_hashes:
        raise _invalid('values are blocked in a namespace of their own, not in "*"')
    if rule.window_days is not None and (rule.limit is None or not 1 <= rule.window_days <= MAX_WINDOW_DAYS):
        raise _invalid(f"{rule.name}: window_days is 1 to {MAX_WINDOW_DAYS} and needs a limit")
    for what, number in (("limit", rule.limit), ("shared_after", rule.shared_after), ("values_an_owner", rule.values_an_owner)):
        if number is not None and not 1 <= number <= 1_000_000:
            raise _invalid(f"{rule.name}: {what} is 1 to 1000000, or absent")
    for name in rule.owned_by:
        if not NAMESPACE.fullmatch(name) or name == rule.name:
            raise _invalid(f"{rule.name}: owned_by names other namespaces than itself, as they are sent")
    if len(rule.owned_by) > MAX_OWNERS:
        raise _invalid(f"{rule.name}: owned_by names at most {MAX_OWNERS} namespaces")
    for value in rule.blocked_hashes:
        if len(value) != 2 * HASH_BYTES or not all(digit in "0123456789abcdef" for digit in value):
            raise _invalid(f"{rule.name}: a blocked hash is {2 * HASH_BYTES} hexadecimal digits, as `rules show` prints it")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, reason="RULES_INVALID")
