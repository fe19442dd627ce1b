"""Weights as messages: in parts that add up, with the events that say so."""

from math import inf

from c360.common.v1.common_pb2 import Position
from c360.identity.v1 import explanation_pb2, matching_pb2

from services.identity.graph.facts import Node
from services.identity.graph.resolve import Link
from services.identity.ledger import IDENTITY_PARTITION
from services.identity.matching.model import probability_of
from services.identity.records.said import READ_BACK, Saying
from services.identity.weighing import Grounds, Side, Weighed
from shared.ids import to_text
from shared.instants import to_timestamp


def hashed(node: Node) -> explanation_pb2.HashedIdentifier:
    return explanation_pb2.HashedIdentifier(namespace=node.namespace, value_hash=node.value_hash.hex())


def match_ground(link: Link, grounds: Grounds | None, first: Node) -> explanation_pb2.MatchGround:
    """`first` is the end that is told first. Without grounds, which every match has that is kept, the weight is all."""
    assert link.weight is not None
    message = explanation_pb2.MatchGround(weight=link.weight)
    if grounds is not None:
        message.comparison.CopyFrom(comparison(grounds.weighed.seen_from(first.value_hash)))
        weighs = grounds.weighed.explanation.weight
        if link.weight == inf:  # as if it were certain, to find what keeps the two apart besides
            message.weight = weighs
        message.unrivalled_by = message.weight - weighs
        message.rivals.extend(explanation_pb2.Rival(identifier=hashed(node), weight=weight) for node, weight in grounds.rivals)
    return message


def comparison(weighed: Weighed) -> matching_pb2.RecordComparison:
    explained, rules = weighed.explanation, weighed.matching
    return matching_pb2.RecordComparison(
        one=_ref(weighed.one),
        other=_ref(weighed.other),
        weight=explained.weight,
        probability=probability_of(explained.weight),
        prior_weight=explained.prior_weight,
        parts=[
            matching_pb2.WeightPart(comparison=part.comparison, level=part.level, weight=part.weight, term_weight=part.term_weight)
            for part in explained.parts
        ],
        band=weighed.band or "",
        veto=weighed.veto or "",
        witnessed=weighed.witnessed,
        unrivalled_weight=explained.weight if weighed.unrivalled == -inf else weighed.unrivalled,
        model_version=explained.model,
        link_weight=rules.link_weight,
        review_weight=rules.review_weight,
        witness_asked=rules.witness,
        one_said_by=[_saying(found) for found in weighed.one.said_by],
        other_said_by=[_saying(found) for found in weighed.other.said_by],
        match_time=to_timestamp(weighed.since) if weighed.since is not None else None,
    )


def _ref(side: Side) -> matching_pb2.RecordRef:
    return matching_pb2.RecordRef(source=side.source, customer_id=to_text(side.customer), value_hash=side.value_hash.hex())


def _saying(found: Saying) -> matching_pb2.Saying:
    return matching_pb2.Saying(
        event_id=to_text(found.event_id),
        occur_time=to_timestamp(found.occurred_at),
        position=Position(log="customer", partition=IDENTITY_PARTITION, number=found.unit) if found.unit != READ_BACK else None,
    )
