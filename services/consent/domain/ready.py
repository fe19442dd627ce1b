"""What a shop needs on its first day: purposes, their controller and the notices that tell of them. Pure.

Installed when a service starts and finds nothing of the name; a shop's own definitions of the same names take their place.
"""

import json
from typing import Final, get_args

from services.consent.domain.definitions import Define, notice_text
from shared.events.callers import ALL_PURPOSES, LOCAL_ISSUER, OPERATOR, CallerDefined, Group
from shared.events.consent import ALL_TRAITS, ControllerDefined, LegalBasis, NoticeDefined, PurposeDefined, RestrictionException
from shared.events.signals import MappingDefined

CONTACT: Final = ("first_name", "firstName", "last_name", "lastName", "name", "email", "phone", "address")
IDS: Final = ("user_id", "anonymous_id", "group_id", "customer_number")
ORDERS: Final = ("last_order", "last_order_id", "last_order_total", "order_count", "open_return", "return_status")
TASTE: Final = ("interests", "favourite_category", "favorite_category")

AGE_OF_CONSENT: Final = 16  # GDPR Art. 8(1), and CCPA 1798.120(c); some states of the EU have less, and nobody's is known
BY: Final = "customer360"
REASON: Final = "ready for a shop"
CONTROLLER: Final = "operator"
SIGNALS: Final = "signals"  # the mapping by which signals are read that name no other


def _purpose(
    name: str,
    legal_basis: LegalBasis,
    description: str,
    traits: tuple[str, ...],
    dpv: tuple[str, ...],
    data_uses: tuple[str, ...],
    data_categories: tuple[str, ...],
    contact_points: tuple[str, ...] = (),
    despite_restriction: tuple[RestrictionException, ...] = (),
    minors_under: int = 0,
) -> Define:
    purpose = PurposeDefined(
        request_id=f"ready-purpose-{name}",
        name=name,
        version=0,
        description=description,
        legal_basis=legal_basis,
        traits=traits,
        scope="contact_point" if contact_points else "person",
        contact_points=contact_points,
        controller=CONTROLLER,
        despite_restriction=despite_restriction,
        minors_under=minors_under,
        dpv=tuple(f"https://w3id.org/dpv#{tag}" for tag in dpv),
        data_uses=data_uses,
        data_categories=data_categories,
        defined_by=BY,
        reason=REASON,
    )
    return Define(definition=purpose)


def _notice(name: str, purposes: tuple[str, ...], **texts: str) -> Define:
    notice = NoticeDefined(
        request_id=f"ready-notice-{name}",
        name=name,
        version=0,
        purposes=purposes,
        texts=tuple(notice_text(locale, " ".join(text.split())) for locale, text in texts.items()),
        controller=CONTROLLER,
        defined_by=BY,
        reason=REASON,
    )
    return Define(definition=notice)


# Nothing here says yes to newsletters: no banner of a site has asked for them. What STOP withdraws is for whoever defines a purpose of
# messages to phones: none of these is.
_MAPPING: Final = MappingDefined(
    request_id=f"ready-mapping-{SIGNALS}",
    name=SIGNALS,
    version=0,
    document=json.dumps(
        {
            "tcf": [
                {"purpose": "advertising", "tcf_purposes": [1, 3, 4], "whose": "publisher"},
                {"purpose": "analytics", "tcf_purposes": [8, 9], "basis": "legitimate_interest", "whose": "publisher"},
            ],
            "tcf_canada": [{"purpose": "advertising", "tcf_purposes": [1, 3, 4], "whose": "publisher"}],
            "us": {
                "sale_opt_out": ["advertising"],
                "sharing_opt_out": ["advertising"],
                "targeted_advertising_opt_out": ["advertising"],
                "known_child_sensitive_data_consents": ["advertising"],
            },
            "gpc": ["advertising"],
            "categories": {"Advertising": ["advertising"], "Analytics": ["analytics"]},
        },
        indent=1,
    ),
    defined_by=BY,
    reason=REASON,
)

_CONTROLLER: Final = ControllerDefined(
    request_id=f"ready-controller-{CONTROLLER}",
    name=CONTROLLER,
    version=0,
    legal_name="The operator of this installation",
    defined_by=BY,
    reason=REASON,
)

# Who may let others in, without whom nobody could. Nobody is this caller where the installation's own tokens aren't trusted.
_OPERATOR: Final = CallerDefined(
    request_id=f"ready-caller-{OPERATOR}",
    name=OPERATOR,
    version=0,
    description="Whoever runs this installation.",
    issuer=LOCAL_ISSUER,
    subject=OPERATOR,
    purposes=(ALL_PURPOSES,),
    groups=get_args(Group),
    defined_by=BY,
    reason=REASON,
)

READY: Final = (  # each behind what it refers to
    Define(definition=_CONTROLLER),
    _purpose(
        "service",
        "contract",
        "Deliver orders, answer questions, handle returns.",
        (*CONTACT, *IDS, *ORDERS, "loyalty_tier", "plan", "language", "country", "company", "title", "events"),
        ("ServiceProvision", "CustomerCare"),
        ("essential.service",),
        ("user.name", "user.contact", "user.unique_id", "user.behavior.purchase_history"),
    ),
    _purpose(
        "marketing",
        "consent",
        "Send offers and newsletters, chosen by interests.",
        ("first_name", "firstName", "email", "language", "country", "loyalty_tier", *TASTE),
        ("DirectMarketing", "PersonalisedAdvertising"),
        ("marketing.communications.email", "personalize"),
        ("user.name.first", "user.contact.email", "user.behavior"),
        contact_points=("email",),  # who asked for a newsletter at one address didn't ask for it at another
        minors_under=AGE_OF_CONSENT,
    ),
    _purpose(
        "analytics",
        "legitimate_interest",
        "Understand how the shop is used, without names and addresses.",
        ("country", "language", "loyalty_tier", "plan", "order_count", *TASTE),
        ("ServiceUsageAnalytics",),
        ("analytics.reporting",),
        ("user.behavior", "user.location"),
    ),
    _purpose(
        "advertising",
        "consent",
        "Show offers on other sites and in other apps, by partners who learn what interests the customer.",
        ("country", "language", *TASTE),
        ("TargetedAdvertising",),
        ("marketing.advertising.third_party.targeted",),
        ("user.behavior", "user.location"),
        minors_under=AGE_OF_CONSENT,
    ),
    _purpose(
        "audit",
        "legal_obligation",
        "Show what was known and served, to those who must know.",
        (ALL_TRAITS,),
        ("LegalCompliance",),
        ("essential.legal_obligation",),
        ("user",),
        despite_restriction=("legal_claims",),
    ),
    _notice(
        "marketing_consent",
        ("marketing",),
        en="""Yes, send me offers and newsletters by e-mail. For this you use my first name, my e-mail address, my language and country,
            my loyalty tier and my interests. I can take this back at any time, as easily as I give it; what was done before stays
            lawful.""",
        de="""Ja, schickt mir Angebote und Newsletter per E-Mail. Dafür verwendet ihr meinen Vornamen, meine E-Mail-Adresse, meine
            Sprache und mein Land, meine Treuestufe und meine Interessen. Ich kann das jederzeit so einfach widerrufen, wie ich es
            gebe; was vorher geschah, bleibt rechtmäßig.""",
    ),
    _notice(
        "privacy",
        ("service", "marketing", "analytics", "advertising", "audit"),
        en="""We use your data to deliver your orders, answer your questions and handle returns, as our contract with you needs. We look
            at how our shop is used, without your name and address, as it is in our legitimate interest; you can object at any time.
            Offers and newsletters you get only with your consent, and only with it do partners of ours learn what interests you, to show
            you our offers on other sites and in other apps; you can take it back at any time. What we knew and used is
            kept to be shown where the law requires it. You can ask us what we know of you, have it corrected, handed over,
            restricted or erased, and complain to a supervisory authority.""",
        de="""Wir verwenden deine Daten, um deine Bestellungen zu liefern, deine Fragen zu beantworten und Rücksendungen abzuwickeln,
            wie es unser Vertrag mit dir erfordert. Wie unser Shop genutzt wird, sehen wir uns ohne deinen Namen und deine Adresse an,
            in unserem berechtigten Interesse; du kannst jederzeit widersprechen. Angebote und Newsletter bekommst du nur mit deiner
            Einwilligung, und nur mit ihr erfahren Partner von uns, was dich interessiert, um dir unsere Angebote auf anderen Seiten und in
            anderen Apps zu zeigen; du kannst sie jederzeit widerrufen. Was wir wussten und verwendeten, wird aufbewahrt, um es zu zeigen, wo
            das Gesetz es verlangt. Du kannst von uns erfahren, was wir über dich wissen, es berichtigen, herausgeben,
            einschränken oder löschen lassen und dich bei einer Aufsichtsbehörde beschweren.""",
    ),
    Define(definition=_MAPPING),
    Define(definition=_OPERATOR),
)
