"""Where in the reference something of the protos stands."""

import re
from pathlib import PurePosixPath

_WORD = re.compile(r"`[^`]*`|[<>\[\]_*|{}]")
_ESCAPED = {"<": "&lt;", ">": "&gt;", "|": "&#124;", "{": "&#123;", "}": "&#125;"}
_EXPLAINED_ELSEWHERE = {
    "google.protobuf.Timestamp": "Timestamp",
    "google.protobuf.Duration": "Duration",
    "google.protobuf.FieldMask": "FieldMask",
    "google.protobuf.Struct": "Struct",
    "google.protobuf.Value": "Value",
}


def page_of(proto: str) -> str:
    """`c360/profile/v1/watch.proto` is at `reference/profile/watch.md`."""
    path = PurePosixPath(proto)
    return f"reference/{path.parts[1]}/{path.stem}.md"


def anchor(full_name: str) -> str:
    """`c360.profile.v1.ProfileService.GetProfile` is at `profileservice-getprofile` of its page."""
    return "-".join(full_name.split(".")[3:]).lower()


def short(full_name: str) -> str:
    """Without the package, which the page names."""
    return ".".join(full_name.split(".")[3:])


def link(full_name: str, homes: dict[str, str]) -> str:
    """To where a message or an enum is described, from any page of the reference (they are all as deep)."""
    name = full_name.removeprefix(".")
    if name in _EXPLAINED_ELSEWHERE:
        return f"`{_EXPLAINED_ELSEWHERE[name]}`"
    page = homes[name].removeprefix("reference/")
    return f"[`{short(name)}`](../{page}#{anchor(name)})"


def prose(comment: str) -> str:
    """A comment as Markdown: what isn't in backquotes is meant as it stands."""
    return _WORD.sub(lambda found: _plain(found.group()), comment)


def cell(comment: str) -> str:
    """A comment in a cell of a table, which has one line."""
    return prose(comment).replace("\n", " ")


def _plain(found: str) -> str:
    return found.replace("|", "\\|") if found.startswith("`") else _ESCAPED.get(found, f"\\{found}")
