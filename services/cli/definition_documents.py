"""Definitions as files that people write: what `show --document` prints and `define` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from services.cli.documents import read_document
from services.cli.errors import Misused

if TYPE_CHECKING:
    from c360.consent.v1 import registry_pb2

BASES: Final = ("consent", "contract", "legal-obligation", "legitimate-interest")  # GDPR Art. 6(1)
GROUPS: Final = ("read", "export", "decide", "administer", "audit")
MASKS: Final = ("partial", "tokenised", "generalised", "absent")
DESPITE: Final = ("consent", "legal-claims", "rights-of-others", "public-interest")  # GDPR Art. 18(2)
SCOPES: Final = ("person", "contact-point", "identifier")


def document_of(definition: registry_pb2.Definition) -> dict[str, Any]:
    """What `define` takes again. Hashes are never taken."""
    from services.cli import messages

    content: dict[str, Any] = messages.plain(getattr(definition, str(definition.WhichOneof("content"))))
    if definition.HasField("mapping"):
        mapping: dict[str, Any] = json.loads(content["document"])
        return mapping
    texts = [{name: text[name] for name in ("locale", "text")} for text in content.get("texts", ())]
    return content | ({"texts": texts} if texts else {})


def fill(message: Any, content: dict[str, Any]) -> None:
    """Raises Misused (DOCUMENT_INVALID, LEGAL_BASIS_INVALID, SCOPE_INVALID, GROUP_INVALID, MASK_INVALID, EXCEPTION_INVALID)."""
    from google.protobuf.json_format import ParseDict, ParseError

    if message.DESCRIPTOR.name == "Mapping":
        message.document = json.dumps(content)
        return
    content = dict(content)
    if "legal_basis" in content:
        content["legal_basis"] = _basis(content["legal_basis"])
    if isinstance(bases := content.get("legal_bases"), dict):
        content["legal_bases"] = {place: _basis(basis) for place, basis in bases.items()}
    if "scope" in content:
        if content["scope"] not in SCOPES:
            raise Misused("SCOPE_INVALID", f"a scope is one of {', '.join(SCOPES)}")
        content["scope"] = _enum_name("SCOPE", content["scope"])
    if isinstance(masks := content.get("masks"), dict):
        content["masks"] = {field: _mask(mask) for field, mask in masks.items()}
    if isinstance(despite := content.get("despite_restriction"), list):
        content["despite_restriction"] = [_exception(one) for one in despite]
    if isinstance(groups := content.get("groups"), list):
        content["groups"] = [_group(group) for group in groups]
    try:
        ParseDict(content, message)
        message.SetInParent()
    except ParseError as error:
        raise Misused("DOCUMENT_INVALID", str(error)) from None


def _basis(word: Any) -> str:
    """Raises Misused (LEGAL_BASIS_INVALID)."""
    if word not in BASES:
        raise Misused("LEGAL_BASIS_INVALID", f"a legal basis is one of {', '.join(BASES)}")
    return _enum_name("LEGAL_BASIS", word)


def _group(word: Any) -> str:
    """Raises Misused (GROUP_INVALID)."""
    if word not in GROUPS:
        raise Misused("GROUP_INVALID", f"methods are of the groups {', '.join(GROUPS)}")
    return _enum_name("METHOD_GROUP", word)


def _mask(word: Any) -> str:
    """Raises Misused (MASK_INVALID)."""
    if word not in MASKS:
        raise Misused("MASK_INVALID", f"a mask is one of {', '.join(MASKS)}")
    return _enum_name("MASKING", word)


def _exception(word: Any) -> str:
    """Raises Misused (EXCEPTION_INVALID)."""
    if word not in DESPITE:
        raise Misused("EXCEPTION_INVALID", f"restricted data is processed on one of {', '.join(DESPITE)}")
    return _enum_name("RESTRICTION_EXCEPTION", word)


def _enum_name(kind: str, word: str) -> str:
    return f"{kind}_{word.upper().replace('-', '_')}"


def read(file: Path) -> dict[str, Any]:
    """Raises Misused (FILE_UNREADABLE, DOCUMENT_INVALID)."""
    try:
        content = json.loads(read_document(file))
    except ValueError as error:
        raise Misused("DOCUMENT_INVALID", f"{file} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise Misused("DOCUMENT_INVALID", f"{file} is not a JSON object")
    return content
