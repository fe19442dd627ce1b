"""What a purpose may see of a profile. The one rule of consent is `shared.consent_rule`; this applies it."""

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from services.profile.domain.computed.definitions import Definition
from services.profile.domain.golden import GoldenRecord, GoldenTrait
from services.profile.domain.masking import masked
from services.profile.domain.state import LinkedIdentifier
from shared.consent_overlays import MINOR, RESTRICTED
from shared.consent_rule import ALLOWED_BY_LAW, Verdict
from shared.errors import InvalidInput, NotPermitted
from shared.events import customer as events
from shared.events.consent import MaskClass, PurposeDefined
from shared.identifiers import normalise

EVENTS_FIELD = "events"  # a purpose that may see it sees names and properties in the timeline
NOT_IN_PURPOSE = "NOT_IN_PURPOSE"
REDACTED = "REDACTED"
HELD = "HELD"  # an erasure waits for a legal hold
CONTACT_POINT_NOT_PERMITTED = "CONTACT_POINT_NOT_PERMITTED"  # by itself; another one may permit the purpose


class Withheld(msgspec.Struct, frozen=True, order=True):
    field: str
    reason: str


class Released(msgspec.Struct, frozen=True):
    """What may be shown, masked or not, and by name what may not, or is masked. `cut_identifiers` is how many more identifiers it may be that are hers;
    `too_large` are traits that have no other value than what is larger than a profile carries."""

    traits: dict[str, GoldenTrait]
    identifiers: list[LinkedIdentifier]
    withheld: list[Withheld]
    cut_identifiers: int = 0
    too_large: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Released {len(self.traits)} traits sealed>"


def sees_what_it_is_made_of(purpose: PurposeDefined, definition: Definition) -> bool:
    """Whether the purpose may see all that a computed trait looks at: whoever writes the definition says what that is."""
    return purpose.may_see(EVENTS_FIELD) and all(purpose.may_see(trait) for trait in definition.traits)


def depends_on_the_person(purpose: PurposeDefined) -> bool:
    """Whether anything that is decided of the person can forbid the purpose: a choice of theirs, or a restriction."""
    return asks_the_person(purpose) or not purpose.despite_restriction


def asks_the_person(purpose: PurposeDefined) -> bool:
    """Whether a choice of the person can forbid the purpose."""
    return purpose.legal_basis not in ALLOWED_BY_LAW


def reads_the_restricted(purpose: PurposeDefined) -> bool:
    """Who asked to be erased is kept for the law's sake alone."""
    return purpose.legal_basis == "legal_obligation"


def require_unrestricted(restricted: bool, purpose: PurposeDefined) -> None:
    """Raises NotPermitted (HELD)."""
    if restricted and not reads_the_restricted(purpose):
        raise NotPermitted("a legal hold keeps the customer from being erased", reason=HELD, purpose=purpose.name)


def require_permission(verdict: Verdict, purpose: PurposeDefined) -> None:
    """Raises NotPermitted with the rule's reason."""
    if not verdict.permitted:
        why = {RESTRICTED: "processing is restricted", MINOR: f"the customer is known to be too young for {purpose.name}"}
        said = why.get(verdict.reason, f"the customer does not permit {purpose.name}")
        raise NotPermitted(said, reason=verdict.reason, purpose=purpose.name)


def release(record: GoldenRecord, purpose: PurposeDefined) -> Released:
    withheld = {Withheld(name, REDACTED if purpose.may_see(name) else NOT_IN_PURPOSE) for name in record.redacted}
    traits, identifiers = dict[str, GoldenTrait](), dict[tuple[str, str], LinkedIdentifier]()
    for name, trait in record.traits.items():
        if purpose.may_see(name) or (purpose.may_see_permitted(name) and _is_permitted(record, name, trait.value)):
            traits[name] = trait
        elif (how := purpose.mask_of(name)) is not None:
            value = masked(how, name, trait.value, purpose.name, record.token_key)
            withheld.add(Withheld(name, _why_masked(how, value)))
            if value is not None:
                traits[name] = msgspec.structs.replace(trait, value=value)
        else:
            withheld.add(Withheld(name, _why_not(purpose, name)))
    for value_hash, linked in record.identifiers.items():
        field, how = f"identifier:{linked.namespace}", purpose.mask_of(linked.namespace)
        sees = purpose.may_see(linked.namespace)
        sees = sees or (purpose.may_see_permitted(linked.namespace) and value_hash in record.permitted_points)
        if not sees and how is None:
            withheld.add(Withheld(field, _why_not(purpose, linked.namespace)))
        elif linked.value is None:
            withheld.add(Withheld(field, REDACTED))
        elif sees:
            identifiers[linked.namespace, linked.value] = linked
        elif how is not None:
            value = masked(how, linked.namespace, linked.value, purpose.name, record.token_key)
            withheld.add(Withheld(field, _why_masked(how, value)))
            if value is not None:
                identifiers[linked.namespace, value] = LinkedIdentifier(value_hash, linked.namespace, value)
    return Released(
        traits=traits,
        identifiers=[identifiers[place] for place in sorted(identifiers)],
        withheld=sorted(withheld),
        cut_identifiers=sum(purpose.may_see(one.namespace) for one in record.unplaced if one.value is not None),
        too_large=frozenset(name for name in record.too_large if purpose.may_see(name)),
    )


def _why_masked(how: MaskClass, value: Any) -> str:
    return f"MASKED_{'absent' if value is None else how}".upper()


def _why_not(purpose: PurposeDefined, field: str) -> str:
    return CONTACT_POINT_NOT_PERMITTED if purpose.may_see_permitted(field) else NOT_IN_PURPOSE


def _is_permitted(record: GoldenRecord, namespace: str, value: Any) -> bool:
    """Whether a trait's value is one of the contact points that permit it."""
    return _is_among([one for h in record.permitted_points if (one := record.identifiers.get(h))], namespace, value)


def _is_among(points: Iterable[LinkedIdentifier], namespace: str, value: Any) -> bool:
    try:
        found = normalise(namespace, value).value if isinstance(value, str) else None
    except InvalidInput:
        return False
    return found is not None and any((one.namespace, one.value) == (namespace, found) for one in points)


class ReleasedEvent(msgspec.Struct, frozen=True):
    """What may be shown of one event. None: its kind has no such part, it is gone, or the purpose may not see it."""

    name: str | None = None
    category: str | None = None
    target_id: str | None = None  # group: the group's id; alias: the previous id
    context: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    identifier: dict[str, Any] | None = None  # namespace: value
    sent_as: dict[str, Any] = {}  # canonical name: {"field", "value"} as the source sent them, where they differ
    names_customers: bool = False  # those whom a merge is about, as far as they may be named

    def __repr__(self) -> str:
        return "<ReleasedEvent sealed>"


def release_event(public: Any, personal: Any, purpose: PurposeDefined, points: Collection[LinkedIdentifier] = ()) -> ReleasedEvent:
    """Of a person, what the profile would show; of what she did, all when the purpose may see events.

    What it may see in its standard form, it may see as it was sent. Fails closed: of a personal part that is gone, or of a
    type that `_whole` doesn't know, nothing is shown. Of contact points that are decided about each by itself only traits and identifiers are
    shown, and of these `points` alone. What is masked in profiles isn't shown here.
    """
    whole, sees_events = _whole(public, personal), purpose.may_see(EVENTS_FIELD)
    by_name = purpose.contact_points or purpose.masks
    all_of_it = sees_events and whole.properties is not None and not by_name
    told = whole if sees_events else ReleasedEvent()
    return ReleasedEvent(
        name=told.name,
        category=told.category,
        target_id=None if purpose.masks else told.target_id,  # of an alias it is an identifier
        context=None if by_name else told.context,
        properties=whole.properties if all_of_it else _by_name(whole.properties, purpose),
        traits=_by_name(whole.traits, purpose, points),
        identifier=_by_name(whole.identifier, purpose, points),
        sent_as=whole.sent_as if all_of_it else _by_name(whole.sent_as, purpose) or {},
        names_customers=whole.names_customers,
    )


def _by_name(
    values: dict[str, Any] | None, purpose: PurposeDefined, points: Collection[LinkedIdentifier] = ()
) -> dict[str, Any] | None:
    """What has the name of a trait or identifier that the profile would show."""
    if values is None:
        return None
    return {
        name: value
        for name, value in values.items()
        if purpose.may_see(name) or (purpose.may_see_permitted(name) and _is_among(points, name, value))
    }


def _whole(public: Any, personal: Any) -> ReleasedEvent:
    """All that any purpose may see. The one place that knows the parts of each type."""
    whole = ReleasedEvent()
    match personal:
        case events.Identified():
            whole = ReleasedEvent(traits=personal.traits, context=personal.context, sent_as=personal.raw)
        case events.Tracked(name=name, properties=properties):
            whole = ReleasedEvent(name=name, properties=properties, context=personal.context, sent_as=personal.raw)
        case events.Viewed(name=name, category=category, properties=properties):
            whole = ReleasedEvent(name, category, properties=properties, context=personal.context, sent_as=personal.raw)
        case events.Grouped(group_id=group_id, traits=traits):
            whole = ReleasedEvent(target_id=group_id, traits=traits, context=personal.context, sent_as=personal.raw)
        case events.Aliased():
            whole = ReleasedEvent(target_id=personal.previous_id, context=personal.context)
        case events.LinkedValue():
            whole = ReleasedEvent(identifier={public.namespace: personal.value})
        case None if isinstance(public, events.CustomersMerged | events.CustomersSplit | events.MergeProposed):
            whole = ReleasedEvent(names_customers=True)
    return whole
