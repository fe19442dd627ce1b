"""The gRPC edge of the rules of profiles."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from c360.profile.v1 import rules_pb2 as pb
from c360.profile.v1 import rules_pb2_grpc

from services.profile.activating import Activator
from services.profile.api.asking import customer_of, instant_for, instant_of
from services.profile.api.choices import rules_choice
from services.profile.api.disclosing import BulkDisclosures, call_of, noted_each, shown_about
from services.profile.api.messages import event_id_of
from services.profile.api.values import to_value
from services.profile.app import Profiles
from services.profile.disclosed import Disclosed
from services.profile.domain.activation import ActivateRules
from services.profile.domain.difference import Change
from services.profile.domain.explanation import Explanation
from services.profile.domain.fold import fits
from services.profile.domain.golden import GoldenTrait
from services.profile.domain.rules_document import SHIPPED, named, read, rules_of, to_json
from services.profile.explaining import Explaining, RecordedAssertion
from services.profile.simulating import Progress as Looked
from services.profile.simulating import Simulation
from services.profile.tables.rulebook import Activation, Rulebook
from services.profile.tables.states import States
from shared.errors import InvalidInput
from shared.events.consent import PurposeDefined
from shared.events.profile_rules import ProfileRulesDiffer
from shared.ids import to_text
from shared.instants import END_OF_TIME, to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.paging import BY_NUMBER, Page
from shared.rpc.sending import taken_in_time
from shared.rpc.server import seconds_left

SERVICE_NAME: Final = "c360.profile.v1.ProfileRulesService"
EXAMPLES: Final = 10
EXAMPLES_AT_MOST: Final = 100  # of at most 4 KB twice
SEND_TIMEOUT_S: Final = 20.0  # for a message: who doesn't read holds up others who try or activate rules
SENDING_AT_MOST_S: Final = 60.0  # for all of them


class ProfileRulesApi(rules_pb2_grpc.ProfileRulesServiceServicer):
    def __init__(
        self,
        profiles: Profiles,
        rulebook: Rulebook,
        states: States,
        activator: Activator,
        simulation: Simulation,
        explaining: Explaining,
        progress: Progress,
        disclosed: Disclosed,
    ) -> None:
        self._profiles = profiles
        self._rulebook = rulebook
        self._states = states
        self._activator = activator
        self._simulation = simulation
        self._explaining = explaining
        self._progress = progress
        self._disclosed = disclosed

    async def GetRules(self, request: pb.GetRulesRequest, context: Any) -> pb.GetRulesResponse:
        found = self._rulebook.version(request.version) if request.version else self._rulebook.in_force
        return pb.GetRulesResponse(
            rules=_version(found, self._purpose(request.purpose)),
            document=to_json(found.document),
            settled_states=await self._states.count_settled(),
            states=await self._states.count(),
            shipped_document=to_json(SHIPPED),
        )

    async def ListRules(self, request: pb.ListRulesRequest, context: Any) -> pb.ListRulesResponse:
        page, purpose = Page(request, BY_NUMBER), self._purpose(request.purpose)
        below = page.after[0] if page.after else END_OF_TIME
        rows = [one for one in reversed(self._rulebook.activations) if one.version < below][: page.wanted]
        shown, token = page.cut(rows, lambda one: (one.version, b""))
        return pb.ListRulesResponse(rules=[_version(one, purpose) for one in shown], next_page_token=token)

    async def SimulateRules(self, request: pb.SimulateRulesRequest, context: Any) -> AsyncIterator[pb.SimulateRulesResponse]:
        rules = rules_of(await asyncio.to_thread(read, request.document), 0)
        wanted = min(request.examples or EXAMPLES, EXAMPLES_AT_MOST)
        purpose = self._profiles.purpose(request.purpose)
        disclose = BulkDisclosures(self._disclosed, call_of("SimulateRules", context), purpose)
        steps = _disclosing(self._simulation.rules(rules, wanted, purpose), disclose)
        async with aclosing(taken_in_time(steps, SEND_TIMEOUT_S, in_all_s=SENDING_AT_MOST_S)) as pages:
            async for looked in pages:
                yield _simulated(looked)

    async def ActivateRules(self, request: pb.ActivateRulesRequest, context: Any) -> AsyncIterator[pb.ActivateRulesResponse]:
        command = ActivateRules(
            request_id=request.request_id,
            document=await asyncio.to_thread(read, request.document),
            reason=request.reason,
            activated_by=request.activated_by,
        )
        looked, purpose = Looked(0, 0, ProfileRulesDiffer()), self._purpose(request.purpose)
        steps = self._activator.activate(command, purpose)
        async with aclosing(taken_in_time(steps, SEND_TIMEOUT_S, in_all_s=SENDING_AT_MOST_S)) as taken:
            async for step in taken:
                if isinstance(step, Looked):
                    looked = step
                activated = _version(step, purpose) if isinstance(step, Activation) else None
                waiting = looked.waiting and activated is None
                yield pb.ActivateRulesResponse(checked_states=looked.states, states=looked.of, activated=activated, waiting=waiting)

    async def ExplainTrait(self, request: pb.ExplainTraitRequest, context: Any) -> pb.ExplainTraitResponse:
        page = Page(request, BY_NUMBER)
        if not request.trait:
            raise InvalidInput("name the trait", reason="TRAIT_MISSING")
        asked, choice = instant_of(self._profiles, request), rules_choice(request.rules)
        await self._progress.wait_all(freshness(request.at_least_as_fresh), seconds_left(context))
        purpose = self._profiles.purpose(request.purpose)
        customer = await customer_of(self._profiles, request.customer)
        call = call_of("ExplainTrait", context)
        async with self._disclosed.read(call) as reading:
            reading.asks(purpose, customer)
            asked = await instant_for(self._profiles, request, customer, purpose, asked)
            found = await self._disclosed.steady(lambda: self._explaining.trait(customer, request.trait, purpose, asked, choice))
            about = await shown_about(self._profiles, customer, [request.trait], rules_version=found.rules.version, instant=asked)
            await self._disclosed.give(call, reading, about)
        rows = [one for one in found.assertions if page.after is None or one.place < page.after][: page.wanted]
        shown, token = page.cut(rows, lambda one: one.place)
        explanation, rules, served = found.explanation, found.rules, found.served
        computed = self._rulebook.version(rules.version).document.computed.get(request.trait)
        return pb.ExplainTraitResponse(
            value=None if served is None else to_value(served.value),
            rule=msgspec.json.encode(computed or named(rules.of(request.trait))).decode(),
            named=computed is not None or request.trait in rules.traits,
            rules_version=rules.version,
            cut=explanation.cut if served is None else served.cut,
            assertions=[_assertion(one, explanation) for one in shown],
            assertion_count=len(found.assertions),
            next_page_token=token,
            event_count=found.events,
        )

    def _purpose(self, name: str) -> PurposeDefined | None:
        """Raises InvalidInput, Unavailable."""
        return self._profiles.purpose(name) if name else None


async def _disclosing(steps: AsyncGenerator[Looked, None], disclose: BulkDisclosures) -> AsyncGenerator[Looked, None]:
    """Of each step what its examples show, and who would move."""
    async with aclosing(noted_each(steps)) as noted:
        async for looked, reading in noted:
            fields: dict[bytes, set[str]] = {}
            for example in looked.examples:
                fields.setdefault(example.customer, set()).add(example.trait)
            for move in looked.moves:
                fields.setdefault(move.customer, set()).add(f"segment:{move.segment}")
            await disclose.give(reading, fields)
            yield looked


def _version(found: Activation, purpose: PurposeDefined | None) -> pb.RulesVersion:
    """Who asks for what it was counted for, as that was defined then, sees what was counted."""
    expected = found.expected
    shown = purpose is not None and (purpose.name, purpose.version) == (expected.purpose, expected.purpose_version)
    return pb.RulesVersion(
        version=found.version,
        activate_time=to_timestamp(found.activated_at) if found.activated_at else None,
        activated_by=found.activated_by,
        reason=found.reason,
        expected=_difference(expected) if shown else None,
        settled=found.settled,
        record_time=to_timestamp(found.recorded_at) if found.recorded_at else None,
    )


def _difference(found: ProfileRulesDiffer) -> pb.ExpectedDifference:
    return pb.ExpectedDifference(
        purpose=found.purpose,
        customers=found.customers,
        changed_customers=found.changed_customers,
        withheld_customers=found.withheld_customers,
        traits=found.traits,
        cut_traits=found.cut_traits,
        segments={
            name: pb.ExpectedMoves(entered=one.entered, left=one.left, members=one.members, judged_by_less=one.judged_by_less)
            for name, one in found.segments.items()
        },
        withheld_traits=found.withheld_traits,
        withheld_segments=found.withheld_segments,
    )


def _simulated(looked: Looked) -> pb.SimulateRulesResponse:
    return pb.SimulateRulesResponse(
        checked_states=looked.states,
        states=looked.of,
        difference=_difference(looked.found),
        examples=[_example(one) for one in looked.examples],
        waiting=looked.waiting,
        moves=[
            pb.ChangedMembership(customer_id=to_text(one.customer), segment=one.segment, entered=one.entered)
            for one in looked.moves
        ],
        hints=[
            pb.RulesHint(
                definition=one.definition, reason=one.why, path=one.path, value=None if one.value is None else to_value(one.value)
            )
            for one in looked.hints
        ],
    )


def _example(change: Change) -> pb.ChangedValue:
    return pb.ChangedValue(
        customer_id=to_text(change.customer), trait=change.trait, before=_chosen(change.before), after=_chosen(change.after)
    )


def _chosen(trait: GoldenTrait | None) -> pb.ChosenValue | None:
    if trait is None:
        return None
    return pb.ChosenValue(value=to_value(trait.value), source=trait.source, event_id=event_id_of(trait), cut=trait.cut)


def _assertion(one: RecordedAssertion, explanation: Explanation) -> pb.Assertion:
    said, public = one.assertion, one.public
    lost, fields = explanation.lost.get(said.event_id, ""), explanation.fields.get(said.event_id, {})
    shows = not one.withheld and fits(said.value)
    return pb.Assertion(
        value=to_value(said.value) if shows else None,
        source=said.source,
        event_id=to_text(said.event_id),
        customer_id=to_text(one.record.entry.stream),
        occur_time=to_timestamp(said.occurred_at),
        receive_time=to_timestamp(said.received_at),
        sent_time=None if public.sent_at is None else to_timestamp(public.sent_at),
        original_time=None if public.original_at is None else to_timestamp(public.original_at),
        record_time=to_timestamp(one.record.recorded_at),
        chosen=not lost,
        lost=lost,
        fields=[pb.FieldVerdict(name=name, chosen=why is None, lost=why or "") for name, why in fields.items()],
    )
