"""The document in which people write the rules of profiles. Pure.

```json
{"default": {"rule": "most_recent"},
 "traits": {"email": {"rule": "most_recent", "verified_first": true},
            "plan": {"rule": "source_priority", "sources": ["billing", "crm"]},
            "tags": {"rule": "union"},
            "address": {"rule": "most_recent", "by_field": true},
            "signed_up_at": {"rule": "min", "type": "instant"}},
 "computed": {"orders_30d": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "30d"}},
 "segments": {"frequent": {"when": "computed.orders_30d >= 3"}}}
```
`default` is the rule of every trait that isn't listed. Each further section has a type of its own, which checks what it says.
"""

from functools import lru_cache
from typing import Any, Final

import msgspec

from services.profile.domain.computed.definitions import Definitions
from services.profile.domain.computed.definitions import compile_section as compile_computed
from services.profile.domain.computed.document import ComputedTrait
from services.profile.domain.computed.document import Section as ComputedSection
from services.profile.domain.impossible import check_computed, check_segments
from services.profile.domain.rules import Rules, TraitRule, keeping_of
from services.profile.domain.segments import Section as SegmentSection
from services.profile.domain.segments import Segment, Segments
from services.profile.domain.segments import compile_section as compile_segments
from services.profile.domain.shape import shape_told
from shared.errors import InvalidInput
from shared.keys_once import require_keys_once

MAX_DOCUMENT_BYTES: Final = 256_000  # it is an event of the log, and every version stays in memory
MAX_RULES: Final = 1_000  # a profile has no more traits
MAX_SOURCES: Final = 100  # of one rule
MAX_NAME_CHARACTERS: Final = 256  # of a trait or a source
CONFIRMABLE: Final = ("email", "phone")  # a person can confirm a consent from them, and nothing else
MEASURED: Final = {"min": ("number", "instant", "text"), "max": ("number", "instant", "text"), "longest": ("text", "list")}
BY_FIELD: Final = ("most_recent", "source_priority", "most_frequent", "first")


COMPILED_AT_MOST: Final = 4  # documents, in memory besides those that were activated
_sections: Final = msgspec.msgpack.Encoder()
_written: Final = msgspec.msgpack.Decoder(tuple[ComputedSection, SegmentSection])


class RulesDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    default: TraitRule = TraitRule()
    traits: dict[str, TraitRule] = {}
    computed: ComputedSection = {}
    segments: SegmentSection = {}


SHIPPED: Final = RulesDocument()

DOCUMENTS: Final = msgspec.json.Decoder(RulesDocument)
_ENTRIES: Final = {"traits": TraitRule, "computed": ComputedTrait, "segments": Segment}


def read(text: str) -> RulesDocument:
    """Raises InvalidInput (RULES_INVALID)."""
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise _invalid(f"a document of rules is at most {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = DOCUMENTS.decode(text)
    except msgspec.ValidationError as error:
        raise _invalid(shape_told(error, text, _ENTRIES)) from None
    except msgspec.DecodeError:
        raise _invalid("not JSON") from None
    require_keys_once(text, reason="RULES_INVALID")
    _check(document)
    return document


@lru_cache(maxsize=COMPILED_AT_MOST)
def _compiled(sections: bytes) -> tuple[Definitions, Segments]:
    """It takes up to some seconds: whoever answers others meanwhile reads a document in a thread. Raises InvalidInput (RULES_INVALID)."""
    computed, segments = _written.decode(sections)
    definitions = compile_computed(computed)
    return definitions, compile_segments(segments, definitions)


def rules_of(document: RulesDocument, version: int) -> Rules:
    """Of one that `read` has taken: what that has compiled isn't compiled again."""
    compiled = _compiled(_sections.encode((document.computed, document.segments)))
    definitions, segments = compiled[0] if document.computed else None, compiled[1] if document.segments else None
    keeping = keeping_of(document.default, document.traits, definitions, segments)
    return Rules(
        version=version,
        default=document.default,
        traits=document.traits,
        keeping=keeping,
        computed=definitions,
        segments=segments,
    )


def to_json(document: RulesDocument) -> str:
    """Rules with their names, so that who edits it sees what is in force."""
    written = msgspec.to_builtins(document) | {"default": named(document.default)}
    if document.traits:
        written["traits"] = {trait: named(rule) for trait, rule in document.traits.items()}
    return msgspec.json.format(msgspec.json.encode(written), indent=1).decode()


def named(rule: TraitRule) -> dict[str, Any]:
    """As it is written, its name included when that is the default."""
    written: dict[str, Any] = msgspec.to_builtins(rule)
    return {"rule": rule.rule} | written


SHIPPED_RULES: Final = rules_of(SHIPPED, 1)


def _check(document: RulesDocument) -> None:
    if len(document.traits) > MAX_RULES:
        raise _invalid(f"at most {MAX_RULES} traits have rules of their own")
    if document.default.verified_first:
        raise _invalid(f"verified_first is for {' and '.join(CONFIRMABLE)}: nobody confirms other values")
    _check_rule("default", document.default)
    _check_expressions(document)
    for name, rule in document.traits.items():
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
            raise _invalid(f"a trait's name has 1 to {MAX_NAME_CHARACTERS} characters")
        if rule.verified_first and name not in CONFIRMABLE:
            raise _invalid(f"{name}: verified_first is for {' and '.join(CONFIRMABLE)}: nobody confirms other values")
        if rule.verified_first and rule.type not in (None, "text"):
            raise _invalid(f"{name}: verified_first is for texts: nobody confirms a value of type {rule.type}")
        _check_rule(name, rule)


def _check_expressions(document: RulesDocument) -> None:
    definitions, segments = _compiled(_sections.encode((document.computed, document.segments)))
    check_computed(definitions)
    check_segments(segments, lambda name: document.traits.get(name, document.default))


def _check_rule(name: str, rule: TraitRule) -> None:
    if (rule.rule == "source_priority") is not bool(rule.sources):
        raise _invalid(f"{name}: source_priority, and no other rule, names its sources, the most trusted first")
    if len(rule.sources) > MAX_SOURCES or len(set(rule.sources)) != len(rule.sources):
        raise _invalid(f"{name}: list each source once, and {MAX_SOURCES} at most")
    if any(not 1 <= len(source) <= MAX_NAME_CHARACTERS for source in rule.sources):
        raise _invalid(f"{name}: a source's name has 1 to {MAX_NAME_CHARACTERS} characters")
    if rule.rule in MEASURED and rule.type not in MEASURED[rule.rule]:
        raise _invalid(f"{name}: {rule.rule} needs a type: {', '.join(MEASURED[rule.rule])}")
    if rule.rule == "union" and rule.type is not None:
        raise _invalid(f"{name}: union takes values of every type and has none itself")
    if rule.by_field and (rule.rule not in BY_FIELD or rule.type not in (None, "object") or rule.verified_first):
        raise _invalid(f"{name}: by_field is for objects, with one of the rules {', '.join(BY_FIELD)}")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, reason="RULES_INVALID")
