"""What has the wrong shape in a document of rules, told by the names that people gave: the decoder's path has none of a section's."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

MOST_CHARACTERS: Final = 64  # of a name that is told; a longer one is wrong itself, and as long as the document
_PATH: Final = re.compile(r" - at `\$\.?(?P<within>[^`]*)`$")
_IN_A_SECTION: Final = re.compile(r"(?P<section>\w+)\[\.\.\.\]")


def shape_told(error: msgspec.ValidationError, text: str, sections: Mapping[str, Any]) -> str:
    """Of what a decoder said of the text. `sections`: what an entry of each is, by its name."""
    what, within = _parts(error)
    section = _IN_A_SECTION.match(within)
    if section is None:
        return _told(what, within)
    return _of_entry(section["section"], text, sections) or _told(what, within)


def _of_entry(section: str, text: str, sections: Mapping[str, Any]) -> str:
    """Of the first entry that isn't what it should be; empty where none is found, as in what is no JSON further on."""
    try:
        entries = msgspec.json.decode(text)[section]
    except (msgspec.DecodeError, RecursionError):
        return ""
    for name, entry in entries.items():
        try:
            msgspec.convert(entry, sections[section])
        except msgspec.ValidationError as error:
            what, within = _parts(error)
            place = f"{section}.{name[:MOST_CHARACTERS]}"
            return _told(what, f"{place}.{within}" if within else place)
    return ""


def _parts(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong, and where: empty for the whole."""
    said = str(error)
    path = _PATH.search(said)
    return (said, "") if path is None else (said[: path.start()], path["within"])


def _told(what: str, place: str) -> str:
    return f"{place}: {what[0].lower()}{what[1:]}" if place else what
