"""One customer's story, from her first anonymous click to an auditor's question about the past.

Input comes from the unmodified Segment SDK and from the command line; answers come over gRPC, as a channel backend gets them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
from c360.common.v1.common_pb2 import Identifier, Position
from c360.consent.v1 import consent_pb2
from c360.identity.v1 import identity_pb2
from c360.profile.v1 import profile_pb2

from shared.rpc.errors import reason_of
from tests.e2e.cast import Cast, segment_sdk
from tests.e2e.client import DEADLINE_S, Platform, by_id, by_identifier
from tests.e2e.narrator import Narrator

BROWSED, FILED, ORDERED, CALLED, ASKED, LOGGED_IN = 72, 60, 48, 24, 12, 1  # hours ago
COMMAND_TIMEOUT_S = 60


@dataclass
class Found:
    """What later chapters need from earlier ones: customer ids."""

    visitor: str = ""
    buyer: str = ""


class Story:
    """`play` tells all of it; raises StoryBroken at the first step that does not hold. `c360_finds` are the variables by which the
    command finds the services."""

    def __init__(self, platform: Platform, c360_finds: Mapping[str, str]) -> None:
        self.platform = platform
        self.c360_finds = dict(c360_finds)
        self.tell = Narrator()
        self.cast = Cast.assemble()
        self.found = Found()
        self.keys = {
            channel: platform.register_source(self.cast.source(channel)) for channel in ("web", "app", "call-centre", "crm-file")
        }

    def play(self) -> Narrator:
        self.browses_anonymously()
        self.orders_in_the_app()
        self.calls_about_a_return()
        self.logs_in_on_the_web()
        self.late_file_arrives()
        self.decides_about_marketing()
        self.auditor_asks_what_was_known()
        self.auditor_asks_with_todays_knowledge()
        return self.tell

    def browses_anonymously(self) -> None:
        cast = self.cast
        self.tell.chapter("A stranger looks at shoes on the web")
        with segment_sdk(self.platform, self.keys["web"]) as web:
            web.page(anonymous_id=cast.browser, name="Home", timestamp=cast.ago(BROWSED))
            seen = {"product": "trail shoes", "price": 129.0}
            web.track(anonymous_id=cast.browser, event="Product Viewed", properties=seen, timestamp=cast.ago(BROWSED - 0.1))
        self.tell.happens("web: page Home, track Product Viewed, known only as a browser's anonymous id")
        profile = self.profile("anonymous_id", cast.browser, self.newest("web"))
        self.found.visitor = profile.customer_id
        self.tell.answers("GetProfile by anonymous_id, for service", _short(profile))
        self.tell.shows("a customer without a name", found=dict(profile.traits), expected={})
        self.tell.shows(
            "with both steps in the timeline", found=self.activities(self.found.visitor), expected=["Product Viewed", "Home"]
        )

    def orders_in_the_app(self) -> None:
        cast = self.cast
        self.tell.chapter("Somebody orders in the app")
        traits = {"first_name": "Ada", "last_name": "Osei", "email": cast.email, "phone": cast.phone, "loyalty_tier": "gold"}
        with segment_sdk(self.platform, self.keys["app"]) as app:
            app.identify(cast.user_id, traits, anonymous_id=cast.app_install, timestamp=cast.ago(ORDERED))
            order = {"order_id": cast.order_id, "total": 129.0}
            app.track(anonymous_id=cast.app_install, event="Order Completed", properties=order, timestamp=cast.ago(ORDERED - 0.1))
        self.tell.happens("app: identify with user id, e-mail and phone; then track Order Completed by the app's anonymous id")
        resolved = self.platform.resolve("anonymous_id", cast.app_install, self.newest("app"))
        self.found.buyer = resolved.customer_id
        self.tell.answers("ResolveIdentifier by the app's anonymous id", f"customer {resolved.customer_id}")
        self.tell.shows("nobody knows yet that she is the stranger", found=self.found.buyer == self.found.visitor, expected=False)

    def calls_about_a_return(self) -> None:
        cast = self.cast
        self.tell.chapter("She calls about a return")
        profile = self.profile("phone", cast.phone)
        self.tell.answers("GetProfile by the caller's phone number, for service", _short(profile))
        self.tell.shows("she is known by her phone", found=_values(profile, "first_name", "last_name"), expected=["Ada", "Osei"])
        by_mail = self.profile("email", cast.email.upper())
        self.tell.shows("and by her e-mail, however it is written", found=by_mail.customer_id, expected=self.found.buyer)
        [order] = self.timeline(profile.customer_id, name="Order Completed")
        self.tell.answers("GetTimeline, for service", f"{order.name} {dict(order.details)}")
        self.tell.shows("with her order on screen", found=order.details["order_id"], expected=cast.order_id)
        user_id = next(known.value for known in profile.identifiers if known.namespace == "user_id")
        with segment_sdk(self.platform, self.keys["call-centre"]) as desk:
            desk.track(user_id, "Return Requested", {"order_id": cast.order_id}, timestamp=cast.ago(CALLED))
        self.newest("call-centre")
        [asked] = self.timeline(self.found.buyer, name="Return Requested")
        self.tell.shows("the call is part of her history", found=asked.source, expected=cast.source("call-centre"))

    def logs_in_on_the_web(self) -> None:
        cast = self.cast
        self.tell.chapter("She logs in on the web: two identities become one")
        with segment_sdk(self.platform, self.keys["web"]) as web:
            web.identify(cast.user_id, {"language": "en"}, anonymous_id=cast.browser, timestamp=cast.ago(LOGGED_IN))
        self.tell.happens("web: identify with her user id and the browser's anonymous id")
        self.newest("web")
        request = identity_pb2.GetCustomerRequest(customer_id=self.found.buyer)
        customer = self.platform.identity.GetCustomer(request, timeout=DEADLINE_S).customer
        pair = [self.found.visitor, self.found.buyer]
        merges = [list(merge.customer_ids) for merge in customer.merges]
        self.tell.answers("GetCustomer by the id she had in the app", f"{customer.customer_id}, {len(merges)} merges")
        self.tell.shows("a merge joins the two", found=pair in merges, expected=True)
        self.tell.shows("the older id answers for both", found=customer.customer_id, expected=pair[0])
        profile = self.profile("user_id", cast.user_id)
        self.tell.shows("and the profile is one", found=set(pair) <= set(profile.member_ids), expected=True)
        story = ["Return Requested", "Order Completed", "Product Viewed", "Home"]
        self.tell.shows("with the whole history over all channels", found=self.activities(self.found.buyer), expected=story)

    def late_file_arrives(self) -> None:
        cast = self.cast
        self.tell.chapter("A file arrives late, with a wrong name in it")
        traits = {"first_name": "Addie"}
        line: dict[str, object] = {
            "type": "identify",
            "userId": cast.user_id,
            "traits": traits,
            "timestamp": cast.ago(FILED).isoformat(),
        }
        self.tell.happens(f"crm-file: c360 events send, an export of {FILED} hours ago that calls her Addie")
        position = self.send_file([line])
        profile = self.profile("user_id", cast.user_id, position)
        self.tell.answers("GetProfile, for service", _short(profile))
        self.tell.shows("the newer name stays", found=_values(profile, "first_name"), expected=["Ada"])
        then = self.profile("user_id", cast.user_id, position, valid_hours_ago=FILED - 1)
        self.tell.shows("the late one counts for the time it speaks of", found=_values(then, "first_name"), expected=["Addie"])

    def decides_about_marketing(self) -> None:
        tell, email = self.tell, Identifier(namespace="email", value=self.cast.email)
        tell.chapter("She decides about marketing")
        tell.answers("GetProfile, for marketing, before she was asked", self.refusal("marketing"))
        tell.shows("nobody asked her: refused", found=self.refusal("marketing"), expected="PERMISSION_DENIED CONSENT_MISSING")
        self.platform.decide(email, "marketing", consent_pb2.OUTCOME_GRANTED)
        tell.happens("web form: marketing granted")
        profile = self.profile("user_id", self.cast.user_id, purpose="marketing")
        tell.answers("GetProfile, for marketing", _short(profile))
        tell.shows("granted: read, without her phone", found="phone" in profile.traits, expected=False)
        enforced = self.platform.decide(email, "marketing", consent_pb2.OUTCOME_WITHDRAWN).enforcing_readers
        tell.happens(f"web form: marketing withdrawn; readers that enforce it by now: {enforced}")
        refusal = self.refusal("marketing")
        tell.answers("GetProfile, for marketing", refusal)
        tell.shows("refused on the very next read", found=refusal, expected="PERMISSION_DENIED CONSENT_WITHDRAWN")
        service = self.profile("user_id", self.cast.user_id)
        tell.shows("service still works", found=_values(service, "first_name"), expected=["Ada"])

    def auditor_asks_what_was_known(self) -> None:
        self.tell.chapter("An auditor asks: whom did you see before the merge?")
        buyer, before = by_id(self.found.buyer), self.before_merge() - timedelta(microseconds=1)
        valid_at = self.cast.ago(ASKED)
        profile = self.platform.get_profile(buyer, "audit", valid_at=valid_at, known_at=before)
        self.tell.answers(f"GetProfile, valid {ASKED} hours ago, as known before the merge", _short(profile))
        self.tell.shows("the buyer without the stranger", found=self.found.visitor in profile.member_ids, expected=False)
        self.tell.shows("under her own id", found=profile.customer_id, expected=self.found.buyer)
        entries = self.platform.get_timeline(buyer, "audit", valid_at=valid_at, known_at=before)
        self.tell.shows("nothing of the stranger's", found=_names(entries), expected=["Return Requested", "Order Completed"])

    def auditor_asks_with_todays_knowledge(self) -> None:
        self.tell.chapter("The same question with today's knowledge")
        buyer, valid_at = by_id(self.found.buyer), self.cast.ago(ASKED)
        profile = self.platform.get_profile(buyer, "audit", valid_at=valid_at)
        self.tell.answers(f"GetProfile, valid {ASKED} hours ago, as known now", _short(profile))
        pair = [self.found.visitor, self.found.buyer]
        self.tell.shows("the stranger was she all along", found=set(pair) <= set(profile.member_ids), expected=True)
        entries = self.platform.get_timeline(buyer, "audit", valid_at=valid_at)
        story = ["Return Requested", "Order Completed", "Product Viewed", "Home"]
        self.tell.shows("what she looked at belongs to her", found=_names(entries), expected=story)
        self.tell.shows("her login lies after that instant", found="language" in profile.traits, expected=False)

    def newest(self, channel: str) -> Position:
        """Waits until profile has what the channel sent."""
        position = self.platform.newest_position(self.keys[channel])
        self.platform.get_profile(by_identifier("anonymous_id", self.cast.browser), "audit", position)
        return position

    def profile(
        self, namespace: str, value: str, *fresh: Position, purpose: str = "service", valid_hours_ago: float | None = None
    ) -> profile_pb2.Profile:
        valid_at = None if valid_hours_ago is None else self.cast.ago(valid_hours_ago)
        return self.platform.get_profile(by_identifier(namespace, value), purpose, *fresh, valid_at=valid_at)

    def timeline(self, customer_id: str, name: str) -> list[profile_pb2.TimelineEntry]:
        return [entry for entry in self.platform.get_timeline(by_id(customer_id), "service") if entry.name == name]

    def activities(self, customer_id: str) -> list[str]:
        return _names(self.platform.get_timeline(by_id(customer_id), "service"))

    def before_merge(self) -> datetime:
        merges = self.platform.get_timeline(by_id(self.found.buyer), "audit", kinds=("merged",))
        return max(merge.record_time.ToDatetime(tzinfo=UTC) for merge in merges)

    def refusal(self, purpose: str) -> str:
        try:
            self.profile("user_id", self.cast.user_id, purpose=purpose)
        except grpc.RpcError as error:
            return f"{error.code().name} {reason_of(error)}"
        return "no refusal"

    def send_file(self, lines: list[dict[str, object]]) -> Position:
        """By the command, as a nightly job would."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("C360_")}
        environment |= self.c360_finds | {"C360_WRITE_KEY": self.keys["crm-file"]}
        sent = subprocess.run(
            [sys.executable, "-m", "services.cli", "events", "send", "-", "--json"],
            env=environment,
            input="\n".join(map(json.dumps, lines)),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        self.tell.shows("the command succeeds", found=(sent.returncode, sent.stderr), expected=(0, ""))
        log, partition, number = json.loads(sent.stdout)["positions"][0].split("/")
        return Position(log=log, partition=int(partition), number=int(number))


def _names(entries: list[profile_pb2.TimelineEntry]) -> list[str]:
    """Of what she did, latest first."""
    return [entry.name for entry in entries if entry.kind in ("tracked", "page_viewed")]


def _values(profile: profile_pb2.Profile, *names: str) -> list[str]:
    return [profile.traits[name].value.string_value for name in names]


def _short(profile: profile_pb2.Profile) -> str:
    traits = ", ".join(f"{name}={trait.value.string_value}" for name, trait in sorted(profile.traits.items()))
    return (
        f"customer {profile.customer_id}: {traits or 'no traits'} (members: {len(profile.member_ids)}, events: {profile.version})"
    )
