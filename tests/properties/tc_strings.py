"""TC strings as strategies, and what is to be read from each."""

from typing import Any

from hypothesis import strategies as st

from services.consent.domain.signals.tcf import KINDS
from tests.properties.signal_writer import HOW, PADDINGS, VENDORS, Writer

DECISECOND_US = 100_000
PURPOSES = st.sets(st.integers(1, 24)).map(sorted).map(tuple)
FEATURES = st.sets(st.integers(1, 12)).map(sorted).map(tuple)
TWO_LETTERS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)
RESTRICTIONS = st.lists(st.tuples(st.integers(0, 63), st.sampled_from(KINDS), VENDORS), max_size=3)


WHO_AND_WHEN: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("created", st.integers(0, 2**36 - 1)),
    ("last_updated", st.integers(0, 2**36 - 1)),
    ("cmp_id", st.integers(0, 2**12 - 1)),
    ("cmp_version", st.integers(0, 2**12 - 1)),
    ("consent_screen", st.integers(0, 2**6 - 1)),
    ("consent_language", TWO_LETTERS),
    ("vendor_list_version", st.integers(0, 2**12 - 1)),
    ("policy_version", st.integers(0, 2**6 - 1)),
]
WIDTHS = [36, 36, 12, 12, 6, 0, 12, 6]


@st.composite
def written(draw: st.DrawFn, canadian: bool = False) -> tuple[str, dict[str, Any]]:
    """A string, and what is to be read from it."""
    core = Writer().put(1 if canadian else 2, 6)
    said: dict[str, Any] = {name: draw(values) for name, values in WHO_AND_WHEN}
    for value, width in zip(said.values(), WIDTHS, strict=True):
        core.put(value, width) if width else core.put_letters(value)
    said |= {"created": said["created"] * DECISECOND_US, "last_updated": said["last_updated"] * DECISECOND_US}
    said |= {
        name: draw(st.booleans()) for name in (["non_standard_stacks"] if canadian else ["service_specific", "non_standard_stacks"])
    }
    said |= {"special_features": draw(FEATURES), "consents": draw(PURPOSES), "legitimate_interests": draw(PURPOSES)}
    if not canadian:
        core.put(said["service_specific"], 1)
    core.put(said["non_standard_stacks"], 1).put_ids(said["special_features"], 12)
    core.put_ids(said["consents"], 24).put_ids(said["legitimate_interests"], 24)
    if not canadian:
        said |= {"purpose_one_treatment": draw(st.booleans()), "publisher_country": draw(TWO_LETTERS)}
        core.put(said["purpose_one_treatment"], 1).put_letters(said["publisher_country"])
    said |= {"vendor_consents": draw(VENDORS), "vendor_legitimate_interests": draw(VENDORS), "restrictions": draw(RESTRICTIONS)}
    core.put_vendors(said["vendor_consents"], draw(HOW)).put_vendors(said["vendor_legitimate_interests"], draw(HOW))
    core.put(len(said["restrictions"]), 12)
    for purpose, kind, restricted in said["restrictions"]:
        core.put(purpose, 6).put(KINDS.index(kind), 2).put_ranges(sorted(restricted), draw(st.booleans()))
    others, of_others = draw(segments())
    padding = draw(PADDINGS)
    return ".".join(writer.text(padding) for writer in [core, *others]), said | of_others


@st.composite
def segments(draw: st.DrawFn) -> tuple[list[Writer], dict[str, Any]]:
    """Those after the core, in any order."""
    writers, said = list[Writer](), dict[str, Any]()
    for number, name in ((1, "disclosed_vendors"), (2, "allowed_vendors")):
        if draw(st.booleans()):
            said[name] = draw(VENDORS)
            writers.append(Writer().put(number, 3).put_vendors(said[name], draw(HOW)))
    if draw(st.booleans()):
        custom = draw(st.integers(0, 63))
        custom_ids = st.sets(st.integers(1, custom)).map(sorted).map(tuple) if custom else st.just(())
        said["publisher"] = (draw(PURPOSES), draw(PURPOSES), draw(custom_ids), draw(custom_ids))
        writer = Writer().put(3, 3).put_ids(said["publisher"][0], 24).put_ids(said["publisher"][1], 24).put(custom, 6)
        writers.append(writer.put_ids(said["publisher"][2], custom).put_ids(said["publisher"][3], custom))
    return draw(st.permutations(writers)), said
