"""Writes docs/events.md from the catalogue: `python -m shared.events.document docs/events.md`.

What stands there comes from the structs: their docstrings, their fields with types, and the comments behind the fields.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec

import shared.events
from shared.events.catalogue import BEARS_ON, EventType

HEAD = """# Events

Made from the catalogue (`shared/events`) by `make events-doc`; `make check` fails when it is not current.

Every event has an id, a stream, a type id with a schema version, and two times: `occurred_at` (it happened) and `recorded_at` (our
log took it). The public part is readable by every follower; the personal part is sealed under the key of the stream. Stored are the
type id and the version of the day; readers get the newest form, through the upcasters. Instants are microseconds since 1970.

Who meets a type or version that only a newer release knows: profile stops, with an alarm; consent stops when the event says that
it bears on the graph, and skips it otherwise.
"""


def document() -> str:
    return "\n".join([HEAD, *(line for module in _modules() for line in _module(module))])


def _modules() -> list[ModuleType]:
    """Those that register types; the customer's first, as most is about them."""
    names = sorted(found.name for found in pkgutil.iter_modules(shared.events.__path__) if found.name != "document")
    modules = [importlib.import_module(f"shared.events.{name}") for name in names]
    return sorted((module for module in modules if _kinds(module)), key=lambda module: module.OWNER != "identity")


def _kinds(module: ModuleType) -> list[EventType]:
    """Types that the module registers itself."""
    return [kind for kind in vars(module).values() if isinstance(kind, EventType) and kind.public.__module__ == module.__name__]


def _module(module: ModuleType) -> Iterator[str]:
    kinds = _kinds(module)
    followers = ", ".join(module.FOLLOWERS) or "nobody"
    yield f"## {kinds[0].id.partition('.')[0]}: owned by {module.OWNER}, followed by {followers}\n"
    yield f"{inspect.getdoc(module)}\n"
    for kind in kinds:
        yield from _kind(kind)


def _kind(kind: EventType) -> Iterator[str]:
    bears_on = kind.public.__struct_config__.tag if kind.public.__struct_config__.tag_field == BEARS_ON else None
    yield f"### `{kind.id}` version {kind.version}\n"
    yield from _part("Public", kind.public)
    if bears_on:
        yield f"Bears on the {bears_on}: a follower that keeps it must not skip it.\n"
    if kind.personal is not None:
        yield from _part("Personal", kind.personal)
    if kind.call:
        yield f"Sources send it as `{kind.call}`.\n"
    if kind.timeless:
        yield "Counts at every valid time.\n"
    for version, upcaster in enumerate(kind.upcasters, start=1):
        yield f"From version {version} to {version + 1}: {upcaster.change}\n"


def _part(name: str, struct: type[msgspec.Struct]) -> Iterator[str]:
    meaning = " ".join((struct.__doc__ or "").split())
    yield f"{name} part. {meaning}\n"
    comments, types = _comments(struct), _types(struct)
    yield "| field | type | |\n|---|---|---|"
    for field in msgspec.structs.fields(struct):
        default = "" if field.required else "may be absent"
        yield f"| `{field.name}` | `{types[field.name]}` | {'; '.join(filter(None, [comments.get(field.name), default]))} |"
    yield ""


def _types(struct: type[msgspec.Struct]) -> dict[str, str]:
    """As they are written, since a Literal says more by its name than by its values."""
    found: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        for name, annotation in getattr(owner, "__annotations__", {}).items():
            text = annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
            found[name] = re.sub(r"typing\.|shared\.\S+\.", "", text).replace("|", "or")
    return found


def _comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    return dict(re.findall(r"^    (\w+): [^#\n]*#\s*(.+)$", inspect.getsource(struct), re.MULTILINE))


def main() -> int:
    Path(sys.argv[1]).write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
