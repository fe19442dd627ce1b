"""The gRPC edge of the rules."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from c360.common.v1.common_pb2 import CustomerRef
from c360.identity.v1 import rules_pb2 as pb
from c360.identity.v1 import rules_pb2_grpc

from services.identity import replayed
from services.identity.activating import ActivateRules, Activator
from services.identity.api.named import asked_instants, customer_or_node
from services.identity.checks import Checks
from services.identity.domain.decision import Kind
from services.identity.domain.rules_document import read, rules_of, to_json
from services.identity.explaining import Explanations
from services.identity.graph.difference import Difference
from services.identity.graph.facts import Node
from services.identity.ledger import Ledger
from services.identity.nobody import nobody
from services.identity.recall import NOW, Instants
from services.identity.simulating import Progress as Looked
from services.identity.simulating import Simulation
from services.identity.tables import decisions, resettling, rulebook
from services.identity.tables.rulebook import Activation
from shared.errors import InvalidInput, NotFound
from shared.events.rules import RulesDiffer
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.server import seconds_left

SERVICE_NAME: Final = "c360.identity.v1.RulesService"


class RulesApi(rules_pb2_grpc.RulesServiceServicer):
    def __init__(
        self,
        pool: Any,
        ledger: Ledger,
        activator: Activator,
        checks: Checks,
        simulation: Simulation,
        explanations: Explanations,
        lookup_key: bytes,
        progress: Progress,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._activator = activator
        self._checks = checks
        self._simulation = simulation
        self._explanations = explanations
        self._lookup_key = lookup_key
        self._progress = progress

    async def GetRules(self, request: pb.GetRulesRequest, context: Any) -> pb.GetRulesResponse:
        activations = await rulebook.history(self._ledger.reader)
        wanted = request.version or activations[-1].version
        if wanted > len(activations):
            raise NotFound("there is no such version of the rules", reason="RULES_UNKNOWN", version=wanted)
        found = activations[wanted - 1]
        under_way, total = await resettling.under_way(self._pool), await resettling.count(self._pool)
        is_it = under_way is not None and under_way.version == found.version
        return pb.GetRulesResponse(
            rules=version_message(found),
            document=to_json(found.document),
            settled_identifiers=under_way.identifiers if under_way is not None and is_it else total,
            identifiers=total,
            shipped_document=to_json(rulebook.SHIPPED.document),
        )

    async def ListRules(self, request: pb.ListRulesRequest, context: Any) -> pb.ListRulesResponse:
        return pb.ListRulesResponse(rules=[version_message(one) for one in await rulebook.history(self._ledger.reader)])

    async def CheckRules(self, request: pb.CheckRulesRequest, context: Any) -> AsyncIterator[pb.CheckRulesResponse]:
        document = read(request.document, self._lookup_key)
        async with aclosing(self._checks.rules(rules_of(document, 0))) as pages:
            async for looked in pages:
                yield pb.CheckRulesResponse(
                    checked_identifiers=looked.identifiers, identifiers=looked.of, difference=_difference(looked.found)
                )

    async def ActivateRules(self, request: pb.ActivateRulesRequest, context: Any) -> AsyncIterator[pb.ActivateRulesResponse]:
        command = ActivateRules(
            request_id=request.request_id,
            document=read(request.document, self._lookup_key),
            reason=request.reason,
            activated_by=request.activated_by,
        )
        async with aclosing(self._activator.activate(command)) as steps:
            async for step in steps:
                if isinstance(step, Looked):
                    yield pb.ActivateRulesResponse(checked_identifiers=step.identifiers, identifiers=step.of)
                else:
                    total = step.expected.identifiers
                    yield pb.ActivateRulesResponse(checked_identifiers=total, identifiers=total, activated=version_message(step))

    async def Simulate(self, request: pb.SimulateRequest, context: Any) -> pb.SimulateResponse:
        if request.decision not in (pb.SIMULATED_DECISION_MERGE, pb.SIMULATED_DECISION_FORBID):
            raise InvalidInput("say what would be decided: merge or forbid", reason="DECISION_MISSING")
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        instants = await asked_instants(request, self._explanations)
        one, other = await self._node(request.one, instants), await self._node(request.other, instants)
        if one == other:
            raise InvalidInput("name two identifiers, or two customers", reason="SAME_CUSTOMER")
        kind: Kind = "merge" if request.decision == pb.SIMULATED_DECISION_MERGE else "forbid"
        rules = (await rulebook.known_at(self._ledger.reader, instants.known_at)).rules
        former = rules.version != self._ledger.rules.version
        found = await self._simulation.decision(kind, one, other, rules, instants, former)
        return pb.SimulateResponse(difference=_difference(found))

    async def _node(self, ref: CustomerRef, instants: Instants) -> Node:
        """The identifier itself, or the one that founded the customer."""
        named = customer_or_node(ref, self._lookup_key)
        if isinstance(named, Node):
            found: Node | None = named
        else:
            await replayed.members_at(self._pool, named, instants.known_at)  # or it is unknown, or erased
            found = await decisions.founder_of(self._pool, named)
        if found is None:
            raise AssertionError("a customer that is there was founded by an identifier")
        if instants != NOW:
            await self._explanations.resolve(found, instants)  # or it named nobody
        elif await decisions.linked(self._pool, found.value_hash) is None:
            raise await nobody(self._pool, found, self._ledger.rules)
        return found


def version_message(found: Activation) -> pb.RulesVersion:
    return pb.RulesVersion(
        version=found.version,
        activate_time=to_timestamp(found.activated_at) if found.activated_at else None,
        activated_by=found.activated_by,
        reason=found.reason,
        expected=_counts(found.expected),
        settled=found.settled,
        after_position=found.pos,
    )


def _counts(found: Difference | RulesDiffer) -> pb.RulesDifference:
    return pb.RulesDifference(
        merges=found.merges,
        splits=found.splits,
        links=found.links,
        unlinks=found.unlinks,
        shared=found.shared,
        returned=found.returned,
    )


def _difference(found: Difference) -> pb.RulesDifference:
    message = _counts(found)
    for example in found.examples:
        effect = pb.RULES_EFFECT_MERGE if example.merges else pb.RULES_EFFECT_SPLIT
        ids = [to_text(customer) for customer in example.customers]
        message.examples.add(effect=effect, customer_ids=ids, parts=example.parts)
    return message
