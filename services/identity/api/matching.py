"""The gRPC edge of matching. It opens records to weigh them, and answers with weights, never with a value."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from math import inf
from typing import Any

from c360.common.v1.common_pb2 import CustomerRef
from c360.identity.v1 import matching_pb2 as pb
from c360.identity.v1 import matching_pb2_grpc
from msgspec.msgpack import Decoder

from services.identity.api.named import asked_instants, customer_or_node, linked_customer
from services.identity.api.weights import comparison
from services.identity.checks import Checks
from services.identity.explaining import Explanations
from services.identity.graph.difference import Difference
from services.identity.graph_writer import GraphWriter
from services.identity.matcher import Matcher
from services.identity.model_activating import ActivateModel, ModelActivator
from services.identity.recall import NOW
from services.identity.records.likeness import RecordPair
from services.identity.seen_again import SeenAgain
from services.identity.simulating import Progress as Looked
from services.identity.tables import modelbook, record_tables, views
from services.identity.tables.modelbook import ModelActivation
from services.identity.tables.record_rows import RecordRow
from shared.errors import InvalidInput, NotFound
from shared.events.catalogue import Entry
from shared.events.rules import RulesDiffer
from shared.ids import to_text
from shared.instants import to_timestamp
from shared.rpc.edge import freshness
from shared.rpc.paging import BEFORE_ALL, BY_NUMBER, Page
from shared.rpc.server import seconds_left

COMPARISONS_TOLD = 50
EVENTS_READ_BACK = 1_000  # a page
FIRST_PAGE = inf, (b"", b"")
BY_WEIGHT: Decoder[tuple[float, RecordPair]] = Decoder(tuple[float, RecordPair])


class MatchingApi(matching_pb2_grpc.MatchingServiceServicer):
    def __init__(
        self,
        pool: Any,
        lookup_key: bytes,
        matcher: Matcher,
        seen_again: SeenAgain,
        graph: GraphWriter,
        activator: ModelActivator,
        checks: Checks,
        explanations: Explanations,
    ) -> None:
        self._pool = pool
        self._lookup_key = lookup_key
        self._matcher = matcher
        self._seen_again = seen_again
        self._comparing = matcher.comparing
        self._graph = graph
        self._activator = activator
        self._checks = checks
        self._explanations = explanations

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        activations = await modelbook.history(self._graph.ledger.reader)
        if not 0 <= request.number <= len(activations):
            raise NotFound("there is no such model", reason="MODEL_UNKNOWN", number=request.number)
        found, rules = activations[request.number - 1], self._graph.rules.matching
        model = found.model
        records, compared = await record_tables.count(self._pool), await self._matcher.compared()
        comparisons = [
            pb.Comparison(
                name=comparison.name,
                levels=[
                    pb.ComparisonLevel(label=one.label, weight=one.weight, m=one.m or 0, u=one.u or 0) for one in comparison.levels
                ],
            )
            for comparison in model.comparisons
        ]
        return pb.GetModelResponse(
            version=model.version,
            trained_on=model.trained_on,
            on=rules.on,
            link_weight=rules.link_weight,
            review_weight=rules.review_weight,
            witness=rules.witness,
            calibrated_weight=model.link_weight,
            one_per_source=rules.one_per_source,
            prior_weight=model.prior_weight,
            comparisons=comparisons,
            activation=_version(found),
            compared_records=(records if compared is None else compared) if found is activations[-1] else 0,
            records=records,
            document=found.document,
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[_version(one) for one in await modelbook.history(self._graph.ledger.reader)])

    async def CheckModel(self, request: pb.CheckModelRequest, context: Any) -> AsyncIterator[pb.CheckModelResponse]:
        await asyncio.to_thread(modelbook.read, request.document)  # or it is refused
        async with aclosing(self._checks.model(request.document, self._graph.rules)) as pages:
            async for looked in pages:
                yield pb.CheckModelResponse(
                    checked_identifiers=looked.identifiers, identifiers=looked.of, difference=_difference(looked.found)
                )

    async def ActivateModel(self, request: pb.ActivateModelRequest, context: Any) -> AsyncIterator[pb.ActivateModelResponse]:
        command = ActivateModel(
            request_id=request.request_id,
            document=request.document,
            reason=request.reason,
            activated_by=request.activated_by,
        )
        async with aclosing(self._activator.activate(command)) as steps:
            async for step in steps:
                if isinstance(step, Looked):
                    yield pb.ActivateModelResponse(checked_identifiers=step.identifiers, identifiers=step.of)
                else:
                    total = step.expected.identifiers
                    yield pb.ActivateModelResponse(checked_identifiers=total, identifiers=total, activated=_version(step))

    async def ReadBack(self, request: pb.ReadBackRequest, context: Any) -> pb.ReadBackResponse:
        if len(request.events) > EVENTS_READ_BACK:
            raise InvalidInput(f"a page has {EVENTS_READ_BACK} events at most", reason="BATCH_TOO_LONG")
        entries = [
            Entry(e.stream_id, e.event_id, e.type, e.schema_version, e.occurred_us, e.header, e.envelope) for e in request.events
        ]
        sightings = await self._seen_again.hear(entries)
        return pb.ReadBackResponse(records=await self._matcher.read_back(entries), sightings=sightings)

    async def ExplainMatch(self, request: pb.ExplainMatchRequest, context: Any) -> pb.ExplainMatchResponse:
        await self._fresh(request, context)
        one, other = (customer_or_node(end, self._lookup_key) for end in (request.one, request.other))
        instants = await asked_instants(request, self._explanations)
        told, unknown = await self._explanations.compare(one, other, instants)
        return pb.ExplainMatchResponse(
            comparisons=[comparison(weighed) for weighed in told[:COMPARISONS_TOLD]],
            model_version=self._comparing.comparer.model.version if instants == NOW else "",
            unknown_comparisons=unknown,
        )

    async def ListMatches(self, request: pb.ListMatchesRequest, context: Any) -> pb.ListMatchesResponse:
        page = Page(request, BY_WEIGHT)
        await self._fresh(request, context)
        members = set(await views.present_members(self._pool, await self._customer(request.customer)))
        wanted = await record_tables.matches_of(self._pool, members, page.after or FIRST_PAGE, page.wanted)
        found, token = page.cut(list(wanted.items()), lambda match: (match[1].weight, match[0]))
        rows = await record_tables.records(self._pool, {record_id for ids, _ in found for record_id in ids})
        canonical = await record_tables.canonical_of(self._pool, {row.customer for row in rows.values()})
        matches = []
        for ids, like in found:
            if not rows.keys() >= set(ids):
                continue  # erased since
            own, other = sorted((rows[one] for one in ids), key=lambda row: row.customer not in members)
            matches.append(
                pb.CustomerMatch(
                    own=_ref(own),
                    other=_ref(other),
                    weight=like.weight,
                    band="" if like.veto else self._graph.rules.matching.band(like.weight, like.witnessed_weight) or "",
                    veto=like.veto or "",
                    together=canonical.get(own.customer) == canonical.get(other.customer),
                )
            )
        return pb.ListMatchesResponse(matches=matches, next_page_token=token)

    async def ListHousehold(self, request: pb.ListHouseholdRequest, context: Any) -> pb.ListHouseholdResponse:
        page = Page(request, BY_NUMBER)
        await self._fresh(request, context)
        members = await views.present_members(self._pool, await self._customer(request.customer))
        wanted = await record_tables.household(self._pool, members, page.after or BEFORE_ALL, page.wanted)
        found, token = page.cut(wanted, lambda one: one)
        return pb.ListHouseholdResponse(customer_ids=_texts(customer for _, customer in found), next_page_token=token)

    async def _fresh(self, request: Any, context: Any) -> None:
        await self._matcher.progress.wait_all(freshness([request.at_least_as_fresh]), seconds_left(context))

    async def _customer(self, named: CustomerRef) -> bytes:
        return await linked_customer(self._pool, named, self._lookup_key, self._graph.rules)


def _version(found: ModelActivation) -> pb.ModelVersion:
    return pb.ModelVersion(
        number=found.number,
        version=found.version,
        activate_time=to_timestamp(found.activated_at) if found.activated_at else None,
        activated_by=found.activated_by,
        reason=found.reason,
        expected=_counts(found.expected),
        settled=found.settled,
    )


def _counts(found: Difference | RulesDiffer) -> pb.ModelDifference:
    return pb.ModelDifference(merges=found.merges, splits=found.splits, links=found.links, unlinks=found.unlinks)


def _difference(found: Difference) -> pb.ModelDifference:
    message = _counts(found)
    for example in found.examples:
        message.examples.add(merges=example.merges, customer_ids=_texts(example.customers), parts=example.parts)
    return message


def _ref(row: RecordRow) -> pb.RecordRef:
    return pb.RecordRef(source=row.source, customer_id=to_text(row.customer), value_hash=row.value_hash.hex())


def _texts(customers: Iterable[bytes]) -> list[str]:
    return [to_text(customer) for customer in customers]
