"""What of a golden trait is told over gRPC."""

import msgspec

from services.profile.api.messages import trait_message
from services.profile.domain.golden import COMPUTED, NO_EVENT, GoldenTrait
from shared.ids import derived_id, to_text


def test_a_computed_trait_for_which_nothing_counts_yet_is_of_no_event() -> None:
    nothing = GoldenTrait(0, COMPUTED, 1, NO_EVENT)
    assert trait_message(nothing, verified=False).event_id == ""
    one = msgspec.structs.replace(nothing, value=1, event_id=derived_id(bytes(16), b"order"))
    assert trait_message(one, verified=False).event_id == to_text(one.event_id)
