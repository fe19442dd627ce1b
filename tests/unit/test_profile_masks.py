"""Read masks: paths of a profile's fields, and of single traits."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from services.profile.api import messages
from services.profile.api.masks import FIELDS, PATHS_AT_MOST, WHOLE, Mask, mask_of
from shared.errors import InvalidInput


def test_every_field_of_a_profile_can_be_asked_for() -> None:
    assert messages.FIELDS.keys() == set(FIELDS)
    assert mask_of(FieldMask(paths=FIELDS)) == mask_of(FieldMask()) == WHOLE


@pytest.mark.parametrize(
    ("paths", "mask"),
    [
        (["version", "customer_id"], Mask(("customer_id", "version"))),
        (["traits.email"], Mask(("traits",), frozenset({"email"}))),
        (["traits.home.city", "traits.email"], Mask(("traits",), frozenset({"home.city", "email"}))),
        (["traits.email", "traits"], Mask(("traits",))),
    ],
)
def test_paths_name_fields_or_single_traits(paths: list[str], mask: Mask) -> None:
    assert mask_of(FieldMask(paths=paths)) == mask


@pytest.mark.parametrize("path", ["trait", "traits.", "identifiers.email", "", ".", "Traits", "x" * 10_000])
def test_a_path_that_leads_nowhere_is_refused_by_its_name(path: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        mask_of(FieldMask(paths=["version", path]))
    assert (refused.value.reason, refused.value.facts) == ("FIELD_UNKNOWN", {"path": path[:100]})


def test_a_mask_has_an_end() -> None:
    with pytest.raises(InvalidInput) as refused:
        mask_of(FieldMask(paths=["version"] * (PATHS_AT_MOST + 1)))
    assert refused.value.reason == "TOO_MANY_PATHS"
