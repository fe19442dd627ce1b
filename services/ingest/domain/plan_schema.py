"""What a JSON Schema of a plan may be: as much as every event can be checked against in a bounded time.

References are followed as the validator does, and what they lead to counts each time that it is checked. So a schema that
refers to itself, or doubles itself on every level, is refused when it is published, not met when an event comes.
"""

from collections.abc import Iterator
from typing import Any, Final

from services.ingest.domain.plan_document import MAX_NAME, invalid, is_name

MAX_PARTS: Final = 10_000  # of a schema, those that references lead to counted each time
MAX_DEPTH: Final = 100  # of its parts, along references too
MAX_PATTERN: Final = 1_000  # characters of a regular expression
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

# Under these stand names, which mean nothing else; what stands under the names are schemas.
_NAMING: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
_DEFINING: Final = frozenset({"$defs", "definitions"})  # checked where a reference leads to them
_VALUES: Final = frozenset({"const", "enum", "default", "examples", "required", "dependentRequired"})  # no schemas are in these
_REFERRING: Final = frozenset({"$ref", "$dynamicRef"})

Size = tuple[int, int]  # parts, depth


def check_schema(schema: dict[str, Any], path: str) -> None:
    """Raises InvalidInput (PLAN_INVALID), whose text names `path`."""
    if schema.get("$schema", DIALECT) != DIALECT:
        raise invalid("a schema is of JSON Schema 2020-12", f"{path}['$schema']")
    _check_text(schema, path, 0)
    _Sizes(schema, path).of(schema, 0)


def _check_text(part: Any, path: str, depth: int) -> None:
    """Its keys become names of places, which are kept and shown."""
    if depth > MAX_DEPTH:
        raise invalid(f"a schema is at most {MAX_DEPTH} levels deep", path)
    if isinstance(part, dict):
        for name, below in part.items():
            if not is_name(name):
                raise invalid(f"a name has at most {MAX_NAME} characters, all printable", path)
            if name == "pattern" and isinstance(below, str) and len(below) > MAX_PATTERN:
                raise invalid(f"a pattern has at most {MAX_PATTERN} characters", path)
            _check_text(below, path, depth + 1)
    elif isinstance(part, list):
        for below in part:
            _check_text(below, path, depth + 1)


class _Sizes:
    """How much is checked for one value, by the identity of the parts of one schema."""

    def __init__(self, schema: dict[str, Any], path: str) -> None:
        self._schema = schema
        self._path = path
        self._anchors: dict[str, list[Any]] = {}
        self._memory: dict[int, Size | None] = {}  # None: being counted
        self._find_anchors(schema)

    def of(self, part: Any, depth: int) -> Size:
        known = self._memory[id(part)] if id(part) in self._memory else self._count(part, depth)
        if known is None:
            raise invalid("a schema doesn't refer to itself", self._path)
        parts, deep = known
        if depth + deep > MAX_DEPTH:
            raise invalid(f"a schema is at most {MAX_DEPTH} levels deep, references followed", self._path)
        if parts > MAX_PARTS:
            raise invalid(f"a schema has at most {MAX_PARTS} parts, references followed", self._path)
        return parts, deep

    def _count(self, part: Any, depth: int) -> Size:
        self._memory[id(part)] = None
        below = [self.of(found, depth + 1) for found in self._below(part)] if depth <= MAX_DEPTH else []
        found = 1 + sum(size for size, _ in below), 1 + max((deep for _, deep in below), default=0)
        self._memory[id(part)] = found
        return found

    def _below(self, part: Any) -> Iterator[Any]:
        if isinstance(part, list):
            yield from (item for item in part if isinstance(item, dict | list))
        elif isinstance(part, dict):
            for keyword, found in part.items():
                if keyword in _REFERRING:
                    yield from self._targets(found)
                elif keyword in _NAMING and isinstance(found, dict):
                    yield from () if keyword in _DEFINING else (item for item in found.values() if isinstance(item, dict))
                elif keyword not in _VALUES and isinstance(found, dict | list):
                    yield found

    def _targets(self, reference: Any) -> list[Any]:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise invalid("a reference stays inside its schema", self._path)
        fragment = reference[1:]
        found = [self._at(fragment)] if not fragment or fragment[0] == "/" else self._anchors.get(fragment, [])
        if not found or not all(isinstance(target, dict | bool) for target in found):
            raise invalid("a reference leads to nothing", self._path)
        return found

    def _at(self, pointer: str) -> Any:
        found: Any = self._schema
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict):
                found = found.get(name)
            elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(found):
                found = found[int(name[:9])]
            else:
                return None
        return found

    def _find_anchors(self, part: Any) -> None:
        if isinstance(part, dict):
            if part is not self._schema and isinstance(part.get("$id"), str):
                raise invalid("only the whole schema has an $id", self._path)
            for keyword in ("$anchor", "$dynamicAnchor"):
                if isinstance(anchor := part.get(keyword), str):
                    self._anchors.setdefault(anchor, []).append(part)
        if isinstance(part, dict | list):
            for below in part.values() if isinstance(part, dict) else part:
                self._find_anchors(below)
