"""Decisions by hand: taken down, told to both customers, and followed by the graph, in one transaction."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from services.identity.beside import Begun, Beside
from services.identity.domain.decision import Cut, Decide, Decision, Made, Moved, Party, check_who_and_why
from services.identity.graph.facts import Evidence, Node
from services.identity.graph_writer import Change, GraphWriter
from services.identity.ledger import Ledger
from services.identity.nobody import nobody
from services.identity.reviewing import closing, open_proposal
from services.identity.tables import decisions, erasures, views
from services.identity.tables.regions import Loaded
from services.identity.taking import Taken, take, whose
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import NewId, derived_id, to_text
from shared.instants import Clock
from shared.request_ids import reused


class Decider:
    """`decide` and `withdraw` answer when what follows is in the log, with the unit that hands it over."""

    def __init__(self, pool: Any, ledger: Ledger, graph: GraphWriter, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self._ledger = ledger
        self._graph = graph
        self._beside = Beside(pool, ledger, graph, new_id)
        self._clock = clock
        self._new_id = new_id

    async def decide(self, command: Decide) -> Made:
        """Raises NotFound (CUSTOMER_UNKNOWN, and as `nobody`), InvalidInput (SAME_CUSTOMER), Conflict (REQUEST_ID_REUSED),
        WrongState (CUSTOMER_ERASED, ALREADY_TOGETHER, NOT_TOGETHER, ALREADY_DECIDED, FORBIDDEN, WOULD_MOVE_OTHERS)."""
        return await self._beside.carry_out(partial(self._decide, command))

    async def decide_proposal(
        self, request_id: str, proposal_id: bytes, accept: bool, decided_by: str, reason: str, move_others: bool = False
    ) -> Made:
        """Raises NotFound (PROPOSAL_UNKNOWN), WrongState (PROPOSAL_CLOSED), and what `decide` does."""
        check_who_and_why(request_id, reason, decided_by)

        async def begin() -> Begun | Made:
            earlier = await decisions.of_request(self._pool, request_id)
            proposal = await open_proposal(self._pool, proposal_id, answered=earlier)
            command = Decide(
                request_id=request_id,
                act="merge" if accept else "forbid",
                one=Party(value_hash=proposal.end_hash),
                other=Party(value_hash=proposal.other_end_hash),
                decided_by=decided_by,
                reason=reason,
                proposal_id=proposal_id,
                move_others=move_others,
            )
            return await self._decide(command)

        return await self._beside.carry_out(begin)

    async def withdraw(self, request_id: str, decision_id: bytes, withdrawn_by: str, reason: str) -> Made:
        """Raises NotFound (DECISION_UNKNOWN), WrongState (DECISION_WITHDRAWN), Conflict (REQUEST_ID_REUSED), InvalidInput."""
        check_who_and_why(request_id, reason, withdrawn_by)

        async def begin() -> Begun | Made:
            if (earlier := await decisions.of_withdrawal(self._pool, request_id)) is not None:
                if (earlier.decision_id, earlier.withdrawn_by, earlier.withdrawn_reason) != (decision_id, withdrawn_by, reason):
                    raise reused()
                return Made(earlier, self._ledger.next_unit - 1, {})
            decision = await decisions.get(self._pool, decision_id)
            if decision is None:
                raise NotFound("no decision has this id", reason="DECISION_UNKNOWN", decision_id=to_text(decision_id))
            if decision.withdrawn_at is not None:
                raise WrongState(
                    "this decision was withdrawn before", reason="DECISION_WITHDRAWN", decision_id=to_text(decision_id)
                )
            withdrawn = msgspec.structs.replace(
                decision,
                withdraw_request_id=request_id,
                withdrawn_by=withdrawn_by,
                withdrawn_reason=reason,
                withdrawn_at=self._clock(),
            )
            return self._withdraw(withdrawn)

        return await self._beside.carry_out(begin)

    async def _decide(self, command: Decide) -> Begun | Made:
        if (earlier := await decisions.of_request(self._pool, command.request_id)) is not None:
            if earlier.asked != command.digest():
                raise reused()
            return Made(earlier, self._ledger.next_unit - 1, {})
        if await decisions.is_spent(self._pool, command.request_id):
            raise WrongState("what this request decided was removed: a customer of it was erased", reason="CUSTOMER_ERASED")
        one, other = await self._node(command.one), await self._node(command.other)
        if one == other:
            raise InvalidInput("a decision is about two customers, and these two names are of one", reason="SAME_CUSTOMER")
        evidence = Evidence(self._clock(), derived_id(b"decision", command.request_id.encode()))
        found: list[Taken] = []
        decided: list[Decision] = []
        others: dict[bytes, bytes] = {}

        def amend(loaded: Loaded) -> None:
            """Checks the decision against what is, and adds it to the facts; with what it moves besides."""
            found.append(take(command.act, loaded, self._graph.rules, one, other, evidence, move_others=command.move_others))

        async def told(loaded: Loaded) -> Sequence[Entry]:
            decision = _decision(command, found[0].cut, evidence, *[loaded.region.known.links[end] for end in (one, other)])
            decided.append(decision)
            others.update(whose(loaded.region, found[0].moved))
            return [*self._told(decision), *self._closing(decision, loaded)]

        async def also(connection: Any) -> None:
            await decisions.insert(connection, decided[0])
            if command.proposal_id is not None:
                state: events.ProposalEnd = "accepted" if command.kind == "merge" else "declined"
                await views.close_proposals(
                    connection, {command.proposal_id: evidence.event_id}, state, evidence.occurred_at, evidence.event_id
                )

        async def made() -> Made:
            return Made(decided[0], self._ledger.next_unit - 1, await self._moved(others))

        return Begun(Change([one.value_hash, other.value_hash], amend, told, also, evidence), made)

    async def _moved(self, others: Mapping[bytes, bytes]) -> Moved:
        """Of identifiers' hashes, each with the customer that had it before."""
        now, found = await decisions.customers_of(self._pool, others), dict[bytes, set[bytes]]()
        for value_hash, customer in others.items():
            found.setdefault(customer, set()).update([now[value_hash]] if value_hash in now else [])
        return {customer: sorted(had) for customer, had in sorted(found.items())}

    def _withdraw(self, decision: Decision) -> Begun:
        streams: list[bytes] = []
        versions: dict[bytes, int] = {}  # of what is written with it

        def amend(loaded: Loaded) -> None:
            known = loaded.forced if decision.kind == "merge" else loaded.forbidden
            for found in [one for one, evidence in known.items() if evidence.event_id == decision.decision_id]:
                loaded.undecide(decision.kind, found)

        async def told(loaded: Loaded) -> Sequence[Entry]:
            nonlocal versions
            gone = await erasures.erased_among(self._pool, [decision.customer, decision.other_customer])
            streams.extend(stream for stream, _ in decision.told_to() if stream not in gone)
            before = await erasures.versions_of(self._pool, streams)
            versions = loaded.versions = before | loaded.versions  # what was linked to them may be somebody else's by now
            return self._told_back(decision, streams)

        async def also(connection: Any) -> None:
            await decisions.mark_withdrawn(connection, decision)
            await erasures.move_versions(connection, {stream: versions[stream] for stream in streams})

        async def made() -> Made:
            return Made(decision, self._ledger.next_unit - 1, {})

        assert decision.withdrawn_at is not None
        cause = Evidence(decision.withdrawn_at, decision.decision_id)
        return Begun(Change([decision.one, decision.other], amend, told, also, cause), made)

    async def _node(self, party: Party) -> Node:
        named = Node("", party.value_hash) if party.value_hash else await decisions.founder_of(self._pool, party.customer)
        if named is None:
            await views.present_members(self._pool, party.customer)
            raise AssertionError("a customer that is there was founded by an identifier")
        if (found := await decisions.linked(self._pool, named.value_hash)) is None:
            raise await nobody(self._pool, named, self._graph.rules)
        return found

    def _told(self, decision: Decision) -> list[Entry]:
        merge = decision.kind == "merge"
        kind, form = (events.MERGE_DECIDED, events.MergeDecided) if merge else (events.MERGE_FORBIDDEN, events.MergeForbidden)
        hashes = (decision.one, decision.other)
        told = []
        for (stream, other), (mine, its) in zip(decision.told_to(), (hashes, hashes[::-1]), strict=False):
            public = form(
                decision_id=decision.decision_id,
                other=other,
                value_hash=mine,
                other_value_hash=its,
                decided_by=decision.decided_by,
                reason=decision.reason,
            )
            told.append(make_entry(kind, stream, self._new_id(), decision.decided_at, public))
        return told

    def _closing(self, decision: Decision, loaded: Loaded) -> list[Entry]:
        if decision.proposal_id is None:
            return []
        asked = loaded.proposals.pop(decision.proposal_id)
        state: events.ProposalEnd = "accepted" if decision.kind == "merge" else "declined"
        return closing(
            decision.proposal_id,
            asked.one,
            asked.other,
            state,
            decision.decided_at,
            self._new_id,
            decision.decision_id,
            decision.decision_id,
        )

    def _told_back(self, decision: Decision, streams: Collection[bytes]) -> list[Entry]:
        """Nothing follows the last event of a customer that is erased."""
        assert decision.withdrawn_at is not None
        told = []
        for stream, other in decision.told_to():
            public = events.DecisionWithdrawn(
                decision_id=decision.decision_id,
                other=other,
                withdrawn_by=decision.withdrawn_by or "",
                reason=decision.withdrawn_reason or "",
            )
            if stream in streams:
                told.append(make_entry(events.DECISION_WITHDRAWN, stream, self._new_id(), decision.withdrawn_at, public))
        return told


def _decision(command: Decide, cut: Cut, evidence: Evidence, customer: bytes, other_customer: bytes) -> Decision:
    return Decision(
        decision_id=evidence.event_id,
        request_id=command.request_id,
        asked=command.digest(),
        kind=command.kind,
        one=cut.one.value_hash,
        other=cut.other.value_hash,
        customer=customer,
        other_customer=other_customer,
        decided_by=command.decided_by,
        reason=command.reason,
        decided_at=evidence.occurred_at,
        proposal_id=command.proposal_id,
    )
