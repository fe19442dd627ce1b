"""The part of identity's gRPC edge that explains."""

from typing import Any

from c360.identity.v1 import explanation_pb2 as pb
from c360.identity.v1 import explanation_pb2_grpc, identity_pb2

from services.identity.api.named import asked_instants, customer_or_node, node
from services.identity.api.rules import version_message
from services.identity.api.weights import hashed, match_ground
from services.identity.domain.decision import Decision
from services.identity.domain.rules_document import read, rules_of
from services.identity.explaining import Explanations, History, Why
from services.identity.graph.facts import Evidence, Node, pair
from services.identity.graph.resolve import Link
from services.identity.graph.standing import Obstacle
from services.identity.grounding import Owned, by_hand
from services.identity.recall import Instants, Told
from services.identity.tables.closings import of_decision
from services.identity.tables.rulebook import in_force_at
from shared.events import customer as events
from shared.ids import from_text, to_text
from shared.instants import SECOND, to_timestamp
from shared.log import Record
from shared.positions import Progress
from shared.rpc.edge import freshness
from shared.rpc.paging import BEFORE_ALL, BY_NUMBER, Page
from shared.rpc.server import seconds_left

JOINING = frozenset({events.LINKED.id, events.MERGED.id})
CONCLUSIONS = JOINING | {events.UNLINKED.id, events.SPLIT.id}


class ExplanationApi(explanation_pb2_grpc.ExplanationServiceServicer):
    def __init__(self, explanations: Explanations, lookup_key: bytes, progress: Progress) -> None:
        self._explanations = explanations
        self._lookup_key = lookup_key
        self._progress = progress

    async def ExplainPair(self, request: pb.ExplainPairRequest, context: Any) -> pb.ExplainPairResponse:
        one, other = (customer_or_node(ref, self._lookup_key) for ref in (request.one, request.other))
        tried = rules_of(read(request.rules_document, self._lookup_key), 0) if request.rules_document else None
        why = await self._explanations.why(one, other, await self._instants(request, context), tried)
        return _explained(why)

    async def GetCustomerHistory(self, request: pb.GetCustomerHistoryRequest, context: Any) -> pb.GetCustomerHistoryResponse:
        page = Page(request, BY_NUMBER)
        after, _ = page.after or BEFORE_ALL
        customer = from_text(request.customer_id, "customer")
        known_at = (await self._instants(request, context)).known_at
        history = await self._explanations.history(customer, known_at)
        rest = [record for record in history.records if record.pos > after]
        shown, token = page.cut(rest, lambda record: (record.pos, record.entry.event_id))
        return pb.GetCustomerHistoryResponse(
            customer_id=to_text(history.members[0]),
            member_ids=[to_text(member) for member in history.members],
            entries=[_entry(record, history) for record in shown],
            next_page_token=token,
        )

    async def ResolveIdentifierAt(self, request: pb.ResolveIdentifierAtRequest, context: Any) -> pb.ResolveIdentifierAtResponse:
        identifier = node(request.identifier, self._lookup_key)
        resolved = await self._explanations.resolve(identifier, await self._instants(request, context))
        return pb.ResolveIdentifierAtResponse(
            customer_id=to_text(resolved.canonical),
            linked_customer_id=to_text(resolved.customer),
            ownership=identity_pb2.Ownership.Value(f"OWNERSHIP_{resolved.ownership.upper()}"),
        )

    async def _instants(self, request: Any, context: Any) -> Instants:
        await self._progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))
        return await asked_instants(request, self._explanations)


def _explained(why: Why) -> pb.ExplainPairResponse:
    message = pb.ExplainPairResponse(
        together=why.explained.together,
        one=hashed(why.one.node),
        other=hashed(why.other.node),
        one_customer_id=to_text(why.one.customer) if why.one.customer else "",
        other_customer_id=to_text(why.other.customer) if why.other.customer else "",
        obstacles=[_obstacle(why, obstacle) for obstacle in why.explained.obstacles],
        proposal_ids=[to_text(proposal) for proposal in why.proposals],
        resting_proposal_ids=[to_text(proposal) for proposal in why.resting],
        rules_version=why.rules.version,
        vetoes=why.vetoes,
        one_household=why.household,
        crowded=[hashed(node) for node in why.explained.crowded],
    )
    reached = why.one.node
    for link in why.explained.links:
        following = link.weak if link.strong == reached else link.strong
        message.links.append(_link(why, link, reached, following))
        reached = following
    return message


def _link(why: Why, link: Link, reached: Node, following: Node) -> pb.ChainLink:
    message = pb.ChainLink(to=hashed(following))
    if link.weight is not None:
        message.match.CopyFrom(match_ground(link, why.grounds.get(link), reached))
    elif link.evidence is not None:
        message.evidence.CopyFrom(_seen(why, link.evidence))
    else:
        message.decision.CopyFrom(_decision(why.grounded.decided["merge", pair(link.strong, link.weak)]))
    getattr(message, "from").CopyFrom(hashed(reached))  # a keyword of Python
    return message


def _obstacle(why: Why, obstacle: Obstacle) -> pb.Obstacle:
    message = pb.Obstacle(reason=obstacle.kind, identifiers=[hashed(node) for node in obstacle.nodes])
    if obstacle.link is not None and obstacle.link.weight is not None:
        message.match.CopyFrom(match_ground(obstacle.link, why.grounds.get(obstacle.link), obstacle.link.strong))
    elif obstacle.link is not None and by_hand(obstacle.link):
        merged = why.grounded.decided["merge", pair(obstacle.link.strong, obstacle.link.weak)]
        message.merge_decision.CopyFrom(_decision(merged))
    elif obstacle.link is not None and obstacle.link.evidence is not None:
        message.evidence.CopyFrom(_seen(why, obstacle.link.evidence))
    namespace = why.rules.of(obstacle.namespace)
    match obstacle.kind:
        case "FORBIDDEN":
            message.decision.CopyFrom(_decision(why.grounded.decided["forbid", pair(*obstacle.nodes)]))
        case "LIMIT":
            message.namespace = obstacle.namespace
            message.limit = namespace.limit or 0
            message.window_seconds = (namespace.window_us or 0) // SECOND
        case "CLUSTER_TOO_LARGE":
            message.limit = why.rules.max_cluster
        case "CROWDED":
            message.limit = why.rules.max_sightings
        case "ONE_PER_SOURCE":
            message.namespace = obstacle.namespace
        case "LOW_CERTAINTY":
            message.doubts.extend(obstacle.doubts)
        case "SHARED" | "CONTESTED":
            message.limit = (namespace.shared_after or 0) if obstacle.kind == "SHARED" else 0
            _add_owners(message, why.grounded.owned[obstacle.nodes[0].value_hash])
        case "BLOCKED":
            if since := why.grounded.blocked_since.get(obstacle.nodes[0].value_hash):
                message.blocked_since.CopyFrom(version_message(since))
    return message


def _add_owners(message: pb.Obstacle, owned: Owned) -> None:
    message.owners.update(owned.counts)
    for owner in owned.earliest:
        message.owned_by.add(owner=hashed(owner.node), evidence=_evidence(owner.evidence, owner.told))


def _decision(made: Decision) -> pb.DecisionGround:
    return pb.DecisionGround(
        decision_id=to_text(made.decision_id),
        decided_by=made.decided_by,
        reason=made.reason,
        decide_time=to_timestamp(made.decided_at),
        proposal_id=_text(made.proposal_id),
    )


def _seen(why: Why, evidence: Evidence) -> pb.EvidenceEvent:
    return _evidence(evidence, why.told[evidence.event_id])


def _evidence(evidence: Evidence, told: Told) -> pb.EvidenceEvent:
    return pb.EvidenceEvent(
        event_id=to_text(evidence.event_id),
        source=told.source,
        occur_time=to_timestamp(evidence.occurred_at),
        record_time=to_timestamp(told.recorded_at),
    )


def _entry(record: Record, history: History) -> pb.HistoryEntry:
    entry, public = record.entry, record.entry.public()

    def said(*names: str) -> Any:
        return next((found for name in names if (found := getattr(public, name, None))), None)

    value_hash, decided_by = said("value_hash"), said("decided_by", "withdrawn_by")
    hushed = decided_by is not None and history.about_erased(record)  # what people wrote may name who is erased
    message = pb.HistoryEntry(
        type=entry.type_id,
        occur_time=to_timestamp(entry.occurred_at),
        record_time=to_timestamp(record.recorded_at),
        customer_id=to_text(entry.stream),
        other_customer_id=_text(history.other_of(record)),
        other_erased=history.about_erased(record),
        identifier=hashed(Node(history.namespaces.get(value_hash, ""), value_hash)) if value_hash else None,
        other_identifier=hashed(other) if (other := history.other_identifier(record)) else None,
        cause_id=_text(said("cause")),
        subject_id=_text(said("merge_id", "proposal_id", "decision_id")),
        reason="" if hushed else said("reason", "state") or "",
        decided_by=decided_by or "",
    )
    if entry.type_id in CONCLUSIONS:
        _add_cause(message, record, history)
    elif entry.type_id == events.PROPOSAL_CLOSED.id:
        _add_closing(message, record, history)
    return message


def _add_closing(message: pb.HistoryEntry, record: Record, history: History) -> None:
    """What closed a proposal; how it was closed is its reason. It stands where it was closed, whenever what closed it happened."""
    cause = record.entry.public().cause
    message.rules_version = in_force_at(history.activations, record.pos).version
    if (decision := history.decisions.get(cause)) is not None:
        message.cause, message.decided_by = "DECISION", of_decision(decision, record.entry.occurred_at).decided_by
    elif cause in history.spent:
        message.cause = "DECISION"
    elif any(cause == activation.event_id for activation in history.activations):
        message.cause = "RULES"
    elif cause:
        message.cause = "EVENT"
    elif history.about_erased(record) and record.entry.public().state == "withdrawn":
        message.cause = "ERASURE"


def _add_cause(message: pb.HistoryEntry, record: Record, history: History) -> None:
    """What made a merge, a split or a link so."""
    public = record.entry.public()
    message.rules_version = in_force_at(history.activations, record.pos).version
    if (decision := history.decisions.get(public.cause)) is not None:
        message.cause = "DECISION"
        back = decision.kind == ("forbid" if record.entry.type_id in JOINING else "merge")  # it was withdrawn
        message.decided_by = (decision.withdrawn_by if back else decision.decided_by) or ""
        if not history.about_erased(record):
            message.reason = (decision.withdrawn_reason if back else decision.reason) or ""
    elif (decided_by := _by_hand(record, history)) is not None:
        message.cause, message.decided_by = "DECISION", decided_by
    elif public.cause in history.spent:
        message.cause = "DECISION"
    elif any(public.cause == activation.event_id for activation in history.activations):
        message.cause = "RULES"
    elif public.cause:
        message.cause = "EVENT"
    if record.entry.type_id == events.MERGED.id:
        message.chain.extend(public.chain)
        if public.match_weight is not None:
            message.cause = message.cause if message.cause == "DECISION" else "MATCH"
            message.match_weight, message.match_model = public.match_weight, public.match_model or ""


def _by_hand(record: Record, history: History) -> str | None:
    """Who made it so, where the decision itself went with somebody who was erased."""
    cause = record.entry.public().cause
    kind = events.MergeDecided if record.entry.type_id in JOINING else events.MergeForbidden
    if (made := history.by_hand(cause, kind)) is not None:
        return str(made.decided_by)  # type: ignore[attr-defined]
    back = history.by_hand(cause, events.DecisionWithdrawn)
    return None if back is None else str(back.withdrawn_by)  # type: ignore[attr-defined]


def _text(found: bytes | None) -> str:
    return to_text(found) if found else ""
