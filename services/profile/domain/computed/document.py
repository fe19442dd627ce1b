"""The section `computed` of the rules document: how operators write computed traits.

```json
{"orders_30d": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "30d"},
 "spent": {"of": "event.name == 'Order Completed'", "aggregate": "sum", "value": "double(event.properties.total)"},
 "visit_pages": {"of": "event.type == 'page'", "aggregate": "count", "window": {"session": "30m"}},
 "rfm": {"of": "event.name == 'Order Completed'", "aggregate": "rfm", "value": "double(event.properties.total)",
         "scores": {"recency": ["30d", "90d", "180d", "365d"], "frequency": [2, 3, 5, 10], "monetary": [50, 100, 250, 500]}},
 "clv": {"of": "event.name == 'Order Completed'", "aggregate": "lifetime_value", "value": "double(event.properties.total)",
         "horizon": "365d", "model": {"r": 0.24, "alpha": 30.9, "a": 0.79, "b": 2.43, "p": 6.25, "q": 3.74, "gamma": 15.4}}}
```
"""

from typing import Final, Literal

import msgspec

from services.profile.domain.computed.lifetime_value import LifetimeModel
from services.profile.domain.computed.windows import Window

Aggregate = Literal[
    "count",
    "sum",
    "min",
    "max",
    "average",
    "first",
    "last",
    "most_frequent",
    "unique_list",
    "unique_count",
    "time_since",
    "rfm",
    "lifetime_value",
]
WITHOUT_VALUE: Final = ("count", "time_since")
OF_NUMBERS: Final = ("sum", "min", "max", "average", "rfm", "lifetime_value")
OF_TIME: Final = ("time_since", "rfm", "lifetime_value")  # what they give changes as time passes, also of all that ever happened
TOTALLED: Final = ("count", "sum", "average", "rfm")  # without a window: of totals, which have no bound
UNIQUE: Final = ("unique_list", "unique_count")
MAX_COMPUTED: Final = 100  # definitions; each that counts an event costs some microseconds of it
MAX_TITLE_CHARACTERS: Final = 500


class Scores(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Four bounds each, rising, for scores from 1 to 5. Recency: the time since the last, the shorter the higher the score."""

    recency: tuple[str, str, str, str]
    frequency: tuple[int, int, int, int]
    monetary: tuple[float, float, float, float]


class ComputedTrait(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`of` says which events count, `value` what is taken of each; an event without a value of the right type doesn't count."""

    of: str
    aggregate: Aggregate
    value: str | None = None
    window: Window = None
    scores: Scores | None = None
    model: LifetimeModel | None = None
    horizon: str | None = None  # of lifetime_value: how far ahead
    title: str = ""


Section = dict[str, ComputedTrait]
