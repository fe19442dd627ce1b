"""Gathers a report over gRPC, as far as one purpose may see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from services.cli import messages, paging
from services.cli.client import connect
from services.cli.evidence import age_words, notice_words
from services.cli.options import MOST
from services.cli.rights_report.report import (
    FORMAT,
    Asked,
    Controller,
    Decision,
    Disclosure,
    Event,
    Identifier,
    NotShown,
    Purpose,
    Report,
    Restriction,
    Trait,
    sources_of,
)

if TYPE_CHECKING:
    from c360.common.v1 import common_pb2

THEIRS: Final = "THEIRS"


def gather(request: dict[str, Any], purpose: str, made_time: str, timeout_s: float) -> Report:
    """`request`: as `c360 rights show` has it. Raises Refused, NotReachable."""
    from c360.common.v1 import common_pb2

    whose = common_pb2.CustomerRef(customer_id=request["customer_id"])
    with connect("profile") as channel:
        disclosures = list(_disclosures(channel, whose, timeout_s))  # first: what is read for the report itself comes after
        profile = _profile(channel, whose, purpose, timeout_s)
        identifiers, lacking = _identifiers(channel, whose, purpose, timeout_s)
        events = list(_events(channel, whose, purpose, timeout_s))
        membership = _membership(channel, whose, purpose, timeout_s)
    with connect("consent") as channel:
        purposes = list(_purposes(channel, whose, timeout_s))
        decided = [(identifier, one) for identifier in identifiers for one in _decided(channel, whose, identifier, timeout_s)]
        restrictions = list(_restrictions(channel, whose, timeout_s))
        controllers = list(_controllers(channel, timeout_s))
    return Report(
        format=FORMAT,
        made_time=made_time,
        request=Asked(**{name: request[name] for name in Asked.__struct_fields__}),
        controllers=controllers,
        customer_id=profile["customer_id"],
        member_ids=profile["member_ids"],
        found_time=profile["found_time"],
        last_seen_time=profile["last_seen_time"],
        identifiers=identifiers,
        traits=[_trait(name, told) for name, told in profile["traits"].items()],
        segments=membership["segments"],
        purposes=purposes,
        restrictions=restrictions,
        decisions=[decision_of(identifier, belonging, told) for identifier, (belonging, told) in decided],
        disclosures=disclosures,
        sources=sources_of(events),
        events=events,
        not_shown=[*_withheld(profile), *lacking, *_untold(membership)],
    )


def _profile(channel: Any, whose: common_pb2.CustomerRef, purpose: str, timeout_s: float) -> dict[str, Any]:
    """With every trait: those that a message has no room for are asked for by name."""
    from c360.profile.v1 import profile_pb2, profile_pb2_grpc
    from google.protobuf.field_mask_pb2 import FieldMask

    stub = profile_pb2_grpc.ProfileServiceStub(channel)
    answer = stub.GetProfile(profile_pb2.GetProfileRequest(customer=whose, purpose=purpose), timeout=timeout_s)
    profile: dict[str, Any] = messages.plain(answer.profile)
    left = [name for cut in profile["truncated"] if cut["field"] == "traits" for name in cut["left_out"]]
    for name in left:
        mask = FieldMask(paths=[f"traits.{name}"])
        more = profile_pb2.GetProfileRequest(customer=whose, purpose=purpose, read_mask=mask)
        profile["traits"] |= messages.plain(stub.GetProfile(more, timeout=timeout_s).profile)["traits"]
    members = profile_pb2.ListMembersRequest(customer=whose, purpose=purpose)
    listed = paging.entries(stub.ListMembers, members, "member_ids", MOST, timeout_s)
    return profile | {"traits": dict(sorted(profile["traits"].items())), "member_ids": list(listed)}


def _trait(name: str, told: dict[str, Any]) -> Trait:
    return Trait(
        name=name,
        value=told["value"],
        source=told["source"],
        since_time=told["occur_time"],
        event_id=told["event_id"],
        verified=told["verified"],
    )


def _withheld(profile: dict[str, Any]) -> Iterator[NotShown]:
    for one in profile["withheld"]:
        yield NotShown(what=one["field"], why=one["reason"])
    for cut in profile["truncated"]:
        for name in cut["too_large"]:
            yield NotShown(what=name, why="larger than a profile carries: the events have it")
        if cut["not_all_kept"]:
            yield NotShown(what="traits", why="more were told than a profile keeps: the events have them")
    if profile["redacted_events"]:
        yield NotShown(what=f"{profile['redacted_events']} events", why="REDACTED: they were erased")


def _identifiers(
    channel: Any, whose: common_pb2.CustomerRef, purpose: str, timeout_s: float
) -> tuple[list[Identifier], list[NotShown]]:
    from c360.profile.v1 import profile_pb2, profile_pb2_grpc

    request, found = profile_pb2.ListIdentifiersRequest(customer=whose, purpose=purpose, page_size=paging.PAGE), []
    call = profile_pb2_grpc.ProfileServiceStub(channel).ListIdentifiers
    while True:
        page = call(request, timeout=timeout_s)
        found += [Identifier(namespace=one.namespace, value=one.value) for one in page.identifiers]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            cut = [NotShown(what=f"{page.cut_count} identifiers", why="more than are kept")] if page.cut_count else []
            return found, cut


def _events(channel: Any, whose: common_pb2.CustomerRef, purpose: str, timeout_s: float) -> Iterator[Event]:
    """Latest first by when they happened."""
    from c360.profile.v1 import profile_pb2, profile_pb2_grpc

    request = profile_pb2.GetTimelineRequest(customer=whose, purpose=purpose)
    call = profile_pb2_grpc.ProfileServiceStub(channel).GetTimeline
    for entry in paging.entries(call, request, "entries", MOST, timeout_s):
        told = messages.plain(entry)
        yield Event(**{name: told[name] for name in Event.__struct_fields__})


def _disclosures(channel: Any, whose: common_pb2.CustomerRef, timeout_s: float) -> Iterator[Disclosure]:
    """Latest first."""
    from c360.profile.v1 import disclosure_pb2, disclosure_pb2_grpc

    call = disclosure_pb2_grpc.DisclosureServiceStub(channel).WhoRead
    request = disclosure_pb2.WhoReadRequest(customer=whose)
    for one in paging.entries(call, request, "disclosures", MOST, timeout_s):
        told = messages.plain(one)
        yield Disclosure(**{name: told[name] for name in Disclosure.__struct_fields__})


def _membership(channel: Any, whose: common_pb2.CustomerRef, purpose: str, timeout_s: float) -> dict[str, Any]:
    from c360.profile.v1 import segment_pb2, segment_pb2_grpc

    request = segment_pb2.GetMembershipRequest(customer=whose, purpose=purpose)
    answer = segment_pb2_grpc.SegmentServiceStub(channel).GetMembership(request, timeout=timeout_s)
    told: dict[str, Any] = messages.plain(answer)
    return told


def _untold(membership: dict[str, Any]) -> Iterator[NotShown]:
    for field, why in (("withheld_segments", "NOT_IN_PURPOSE"), ("redacted_segments", "REDACTED"), ("cut_segments", "not sure")):
        for name in membership[field]:
            yield NotShown(what=f"segment {name}", why=why)


def _purposes(channel: Any, whose: common_pb2.CustomerRef, timeout_s: float) -> Iterator[Purpose]:
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc, registry_pb2

    stub = consent_pb2_grpc.ConsentServiceStub(channel)
    for told in _definitions(channel, registry_pb2.DEFINITION_KIND_PURPOSE, timeout_s):
        purpose = told["purpose"]
        verdict = stub.Check(consent_pb2.CheckRequest(purpose=told["name"], customer=whose), timeout=timeout_s)
        yield Purpose(
            name=told["name"],
            version=told["version"],
            permitted=verdict.permitted,
            why=verdict.reason,
            **{name: purpose[name] for name in ("description", "legal_basis", "traits", "retention", "recipients")},
        )


def _controllers(channel: Any, timeout_s: float) -> Iterator[Controller]:
    from c360.consent.v1 import registry_pb2

    for told in _definitions(channel, registry_pb2.DEFINITION_KIND_CONTROLLER, timeout_s):
        yield Controller(name=told["name"], **told["controller"])


def _definitions(channel: Any, kind: Any, timeout_s: float) -> Iterator[dict[str, Any]]:
    """The newest version of each, by name."""
    from c360.consent.v1 import registry_pb2, registry_pb2_grpc

    call = registry_pb2_grpc.RegistryServiceStub(channel).ListDefinitions
    request = registry_pb2.ListDefinitionsRequest(kind=kind)
    yield from map(messages.plain, paging.entries(call, request, "definitions", MOST, timeout_s))


def _decided(
    channel: Any, whose: common_pb2.CustomerRef, identifier: Identifier, timeout_s: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """How the identifier is theirs, with each in the order in which they were recorded. How old a guardian is, is told the guardian."""
    from c360.common.v1 import common_pb2
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc

    named = common_pb2.Identifier(namespace=identifier.namespace, value=identifier.value)
    request = consent_pb2.ListDecisionsRequest(identifier=named, customer=whose)
    answer = consent_pb2_grpc.ConsentServiceStub(channel).ListDecisions(request, timeout=timeout_s)
    for one in answer.decisions:
        if not one.age.guardian_hash:
            yield answer.belonging, messages.plain(one)


def decision_of(identifier: Identifier, belonging: str, told: dict[str, Any]) -> Decision:
    """What holds for the person is told; how somebody else may have said it is not theirs to read."""
    own, guardian = belonging == THEIRS, told["parental_authorisation"]
    return Decision(
        own=own,
        namespace=identifier.namespace,
        value=identifier.value,
        notice=notice_words(told["notice"]),
        age=age_words(told["age"]),
        authorised=guardian["verified_by"] if guardian and own else "",
        method=told["method"] if own else "",
        **{
            name: told[name]
            for name in (
                "decision_id",
                "purpose",
                "purpose_version",
                "outcome",
                "decide_time",
                "record_time",
            )
        },
    )


def _restrictions(channel: Any, whose: common_pb2.CustomerRef, timeout_s: float) -> Iterator[Restriction]:
    """In force, also by who may be the same person."""
    from c360.consent.v1 import evidence_pb2, evidence_pb2_grpc

    call = evidence_pb2_grpc.EvidenceServiceStub(channel).ListRestrictions
    request = evidence_pb2.ListRestrictionsRequest(customer=whose)
    yield from map(restriction_of, map(messages.plain, paging.entries(call, request, "restrictions", MOST, timeout_s)))


def restriction_of(told: dict[str, Any]) -> Restriction:
    """What somebody else may have told is not theirs to read whose report this is."""
    own = told["belonging"] == THEIRS
    return Restriction(
        restriction_id=told["restriction_id"],
        since_time=told["restrict_time"],
        grounds=told["restriction"]["grounds"],
        reason=told["restriction"]["reason"] if own else "",
        own=own,
    )
