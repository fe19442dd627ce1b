"""The laws of standardisation: twice is once, the order of fields doesn't matter, what was sent comes back, nothing raises."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.plan import compile_plan
from shared.events.wire import RawEvent
from shared.identifiers import normalise

FIELDS: dict[str, dict[str, Any]] = {
    "industry": {
        "from": ["Industry", "Business type", "Sector"],
        "as": "enumeration",
        "values": {"retail": ["Retail trade", "Shops"], "software": ["IT"]},
    },
    "country": {"from": ["Country", "land"], "as": "country"},
    "currency": {"as": "currency"},
    "email": {"from": ["mail"], "as": "email"},
    "phone": {"from": ["Tel"], "as": "phone"},
    "birthday": {"from": ["dob"], "as": "date", "formats": ["%d.%m.%Y"]},
    "seen": {"as": "datetime", "formats": ["%d/%m/%Y %H:%M"]},
    "revenue": {"from": ["Umsatz"], "as": "number", "decimal": ","},
    "staff": {"from": ["Employees"], "as": "integer"},
    "vip": {"as": "boolean"},
    "city": {"from": ["Town"], "as": "text"},
    "tier": {"as": "lower"},
    "note": {"from": ["comment"]},
}
NAMES = sorted({name for canonical, field in FIELDS.items() for name in (canonical, *field.get("from", ()))})
SPELLINGS = [*NAMES, *(name.upper() for name in NAMES), "business_type", "Business-Type", "other", "Other field"]
TELLING = [
    *("Germany", "de", "DEU", "276", "Deutschland", "€", "EUR", "euro", "Retail trade", "retail", "IT", " shops "),
    *("Ann@Example.com", "ann@example.com ", "030 901820", "+49 30 901820", "3.3.1990", "1990-03-03", "03.03.1990", "1.234,50"),
    *("2026-03-03T10:02:11Z", "2026-03-03 10:02+02:00", "03/03/2026 10:02", "12", "-0", "1e5", "yes", "0", "", " ", "ﬁrst Ǆ", "İ"),
]
VALUES = st.one_of(
    st.sampled_from(TELLING),
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)
TRAITS = st.dictionaries(st.one_of(st.sampled_from(SPELLINGS), st.text(max_size=8)), VALUES, max_size=8)


def plan(match: str, rule: str = "flag") -> Any:
    document = {
        "traits": {"identify": {"properties": {"staff": {"type": ["integer", "string"]}}}},
        "rules": {"coercion_failed": rule, "unplanned_trait": "flag", "schema_violation": "flag"},
        "standardisation": {"match": match, "languages": ["en", "de"], "traits": FIELDS},
    }
    return compile_plan(msgspec.json.encode(document), 1, "DE")


PLANS = {match: plan(match) for match in ("exact", "loose")}
MATCHES = st.sampled_from(sorted(PLANS))


def identify(traits: dict[str, Any]) -> RawEvent:
    return RawEvent(kind="identify", message_id="m", source="crm", user_id="u", traits=traits, occurred_at=1, received_at=1)


def exact(value: Any) -> bytes:
    """Tells 1 from True and 1.0, and finds NaN equal to itself."""
    if isinstance(value, dict):
        return b"{" + b",".join(sorted(exact(name) + b":" + exact(item) for name, item in value.items())) + b"}"
    return repr((type(value).__name__, value)).encode()


@given(MATCHES, TRAITS)
def test_standardised_twice_is_standardised_once(match: str, traits: dict[str, Any]) -> None:
    once = PLANS[match].judge(identify(traits)).event
    again = PLANS[match].judge(msgspec.structs.replace(once, raw={}, flags=[])).event
    assert exact(again.traits) == exact(once.traits)
    assert again.raw == {}


@given(MATCHES, TRAITS, st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(match: str, traits: dict[str, Any], random: Any) -> None:
    names = list(traits)
    random.shuffle(names)
    one, two = (PLANS[match].judge(identify(given)) for given in (traits, {name: traits[name] for name in names}))
    assert exact(one.event.traits) == exact(two.event.traits)
    assert exact(one.event.raw) == exact(two.event.raw)
    assert one.event.flags == two.event.flags
    assert one.findings == two.findings


def restore(fields: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """What was sent: `raw` has it, with what else meant the same."""
    found = dict(fields)
    for canonical in raw:
        found.pop(canonical, None)
    for entry in raw.values():
        found[entry["field"]] = entry["value"]
        found |= entry.get("others", {})
    return found


@given(MATCHES, TRAITS)
def test_what_was_sent_comes_back(match: str, traits: dict[str, Any]) -> None:
    event = PLANS[match].judge(identify(traits)).event
    assert exact(restore(event.traits, event.raw)) == exact(traits)


INDUSTRIES = ["industry", "Industry", "Business type", "Sector"]


@given(st.dictionaries(st.sampled_from(INDUSTRIES), st.sampled_from(["", " ", None, "Shops", "IT", "?", 7, [], {}]), min_size=1))
def test_what_can_be_read_goes_before_what_cannot(traits: dict[str, Any]) -> None:
    """And of those the field that the plan names first."""
    event = PLANS["exact"].judge(identify(traits)).event
    readable = [traits[name] for name in INDUSTRIES if traits.get(name) in ("Shops", "IT")]
    if readable:
        assert event.traits == {"industry": {"Shops": "retail", "IT": "software"}[readable[0]]}
        assert event.flags == []


@given(st.dictionaries(st.sampled_from(["city", "Town"]), st.sampled_from(["", " ", None, "Hull"]), min_size=1))
def test_what_says_something_goes_before_what_does_not(traits: dict[str, Any]) -> None:
    event = PLANS["exact"].judge(identify(traits)).event
    assert ("Hull" in traits.values()) == (event.traits["city"] == "Hull")


@given(TRAITS)
def test_what_is_held_is_what_came(traits: dict[str, Any]) -> None:
    event = identify(traits)
    outcome = plan("loose", "quarantine").judge(event)
    assert outcome.action != "quarantine" or outcome.event is event


@given(st.from_regex(r"[A-Za-z0-9_+\-.]{1,12}@[A-Za-z0-9\-.]{1,14}\.(com|de|org)", fullmatch=True))
def test_a_plain_address_is_read_as_the_library_reads_it(address: str) -> None:
    event = PLANS["exact"].judge(identify({"email": address})).event
    try:
        expected = normalise("email", address).value
    except Exception:
        assert event.flags == ["PLAN_COERCION_FAILED"]
    else:
        assert event.traits["email"] == expected
