"""Consent's use cases: record what people decided, also in two clicks or in one, and list it."""

import asyncio
from collections.abc import Sequence
from functools import reduce
from typing import Any

from services.consent.domain import confirming
from services.consent.domain.asking import answers_a_question, asked_too_early
from services.consent.domain.confirming import Confirm, RequestConfirmation
from services.consent.domain.ledger import Instant, Ledger, RecordDecision, evolve, fold, record_decision
from services.consent.domain.unsubscribing import Link, withdrawal
from services.consent.guardians import Guardians
from services.consent.persons import Persons
from services.consent.views import Decisions, Definitions, Placed
from services.consent.writing import ConsentLog
from shared.consent_overlays import valid_from
from shared.consent_rule import precedence
from shared.errors import CustomerError, InvalidInput
from shared.events.catalogue import make_entry
from shared.events.consent import DECISION_RECORDED, DecisionRecorded, PurposeDefined, decisions_stream
from shared.ids import NewId, to_text


class Consent:
    def __init__(
        self,
        persons: Persons,
        guardians: Guardians,
        decisions: Decisions,
        definitions: Definitions,
        log: ConsentLog,
        new_id: NewId,
        token_key: bytes,
    ) -> None:
        self._persons = persons
        self._guardians = guardians
        self._decisions = decisions
        self._definitions = definitions
        self._token_key = token_key
        self._log = log
        self._new_id = new_id

    async def record_decision(self, command: RecordDecision, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """The decision, and how many live readers enforce it.

        Raises what record_decision and check_guardian do, and DeadlineExceeded (NOT_YET_ENFORCED): it is recorded, but some reader
        may still serve without it; the same command waits again.
        """
        [found], readers = await self.record_decisions([command], timeout_s)
        if isinstance(found, CustomerError):
            raise found
        return found, readers

    async def record_decisions(
        self, commands: Sequence[RecordDecision | CustomerError], timeout_s: float
    ) -> tuple[list[Placed[DecisionRecorded] | CustomerError], int]:
        """Each as record_decision would have it, in their order and in one transaction; what is refused already stays so.

        How many live readers enforce them all. Raises DeadlineExceeded (NOT_YET_ENFORCED).
        """
        until = asyncio.get_running_loop().time() + timeout_s
        async with self._log.turn() as now:
            found = await self._carry_out(commands, now)
        placed = [one for one in found if not isinstance(one, CustomerError)]
        if not placed:
            return found, 0
        facts = {"decision_id": to_text(placed[0].event.decision_id)} if len(placed) == 1 else {}
        return found, await self._log.enforced(max(one.pos for one in placed), until, facts)

    async def request_confirmation(self, command: RequestConfirmation, timeout_s: float) -> tuple[Placed[DecisionRecorded], str]:
        """The grant that waits, and the token that confirms it.

        Raises what confirming.request_confirmation and check_guardian do, and DeadlineExceeded.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        async with self._log.turn() as now:
            ledger, earlier = await self._ledger([command.decision])
            events = confirming.request_confirmation(ledger, command, now, self._new_id, self._token_key)
            guarded = await self._guardians.check(ledger, events)
            for refused in guarded.refused.values():
                raise refused
            placed = (earlier | await self._append([*guarded.ages, *events]))[command.decision.request_id]
        decision = placed.event
        await self._log.enforced(placed.pos, until, {"decision_id": to_text(decision.decision_id)})
        return placed, confirming.token_of(decision.decision_id, decision.confirm_by, self._token_key)

    async def confirm(self, command: Confirm, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """The confirmed grant, and how many live readers enforce it. Raises what confirming.confirmation does, and DeadlineExceeded."""
        until = asyncio.get_running_loop().time() + timeout_s
        waiting = await self._decisions.of_id(confirming.decision_named(command.token, self._token_key))
        if waiting is None:
            raise InvalidInput("what this token confirms was never recorded here", reason="CONFIRMATION_UNKNOWN")
        async with self._log.turn() as now:
            value_hash = waiting.event.identifier_hash
            since = [
                one.event for one in await self._decisions.of_identifier(value_hash) if one.event.purpose == waiting.event.purpose
            ]
            erased_at = await self._persons.erased_at(value_hash)
            decision = confirming.confirmation(waiting.event, since, erased_at, command, now)
            [placed] = await self._carry_out([decision], now)
        if isinstance(placed, CustomerError):
            raise placed
        return placed, await self._log.enforced(placed.pos, until, {"decision_id": to_text(placed.event.decision_id)})

    async def unsubscribe(self, link: Link, method: str, timeout_s: float) -> Placed[DecisionRecorded]:
        """The denial that holds then. Raises what `withdrawal` does, and DeadlineExceeded."""
        until = asyncio.get_running_loop().time() + timeout_s
        async with self._log.turn() as now:
            found = await self._decisions.about(link.purpose, [link.identifier_hash])
            since = {one.event: one for one in found.get(link.identifier_hash, [])}
            command = withdrawal(link, since, f"unsubscribe:{to_text(self._new_id())}", method, now)
            [placed] = await self._carry_out([command], now) if command else [since[max(since, key=precedence)]]
        if isinstance(placed, CustomerError):
            raise placed
        await self._log.enforced(placed.pos, until, {"decision_id": to_text(placed.event.decision_id)})
        return placed

    async def _carry_out(
        self, commands: Sequence[RecordDecision | CustomerError], now: int
    ) -> list[Placed[DecisionRecorded] | CustomerError]:
        """Within a turn."""
        ledger, earlier = await self._ledger([one for one in commands if not isinstance(one, CustomerError)])
        outcomes, made = list[str | CustomerError](), list[DecisionRecorded]()
        for command in commands:
            outcome: str | CustomerError = command if isinstance(command, CustomerError) else command.request_id
            try:
                events = [] if isinstance(command, CustomerError) else record_decision(ledger, command, now, self._new_id)
            except CustomerError as refused:
                outcome, events = refused, []
            ledger, made = reduce(evolve, events, ledger), made + events
            outcomes.append(outcome)
        refusals, ages = await self._guardians.check(ledger, made)
        # Ages first: nobody goes by what a guardian authorised before they go by what is known of the guardian.
        known = earlier | await self._append([*ages, *(one for one in made if one.request_id not in refusals)])
        return [refusals.get(one) or known[one] if isinstance(one, str) else one for one in outcomes]

    async def _ledger(self, commands: Sequence[RecordDecision]) -> tuple[Ledger, dict[str, Placed[DecisionRecorded]]]:
        """What bears on the commands, and by request id what was recorded before. Within a turn."""
        earlier = await self._decisions.of_requests({command.request_id for command in commands})
        referred: list[Placed[Any]] = await self._definitions.all_versions("purpose", list({one.purpose for one in commands}))
        if notices := {one.notice.name for one in commands if one.notice}:
            referred += await self._definitions.all_versions("notice", list(notices))
        return fold(placed.event for placed in (*earlier.values(), *referred)), earlier

    async def _append(self, decisions: Sequence[DecisionRecorded]) -> dict[str, Placed[DecisionRecorded]]:
        """By request id. Within a turn."""
        entries = [
            make_entry(DECISION_RECORDED, decisions_stream(event.identifier_hash), self._new_id(), event.decided_at, event)
            for event in decisions
        ]
        records = await self._log.append_all(entries) if entries else []
        return {
            event.request_id: Placed(event, record.pos, record.recorded_at)
            for event, record in zip(decisions, records, strict=True)
        }

    async def asked_too_early(self, placed: Sequence[Placed[DecisionRecorded]]) -> frozenset[bytes]:
        """Ids of those that answer a question which wasn't to be asked yet: taken all the same, and told."""
        answers = [one.event for one in placed if answers_a_question(one.event)]
        if not answers:
            return frozenset()
        versions = await self._definitions.all_versions("purpose", list({one.purpose for one in answers}))
        early = set[bytes]()
        for purpose in {one.purpose for one in answers}:
            days = {
                one.event.version: one.event.ask_again_after_days
                for one in versions
                if isinstance(one.event, PurposeDefined) and one.event.name == purpose
            }
            hashes = {one.identifier_hash for one in answers if one.purpose == purpose}
            decided = await self._decisions.about(purpose, hashes) if any(days.values()) else {}
            for theirs in decided.values():
                early |= asked_too_early((one.event for one in theirs), days)
        return frozenset(early)

    async def decisions_of(self, value_hash: bytes, instant: Instant) -> list[Placed[DecisionRecorded]]:
        """Oldest first by when they were recorded. Raises InvalidInput (INSTANT_IN_FUTURE), TooLarge (TOO_MANY_DECISIONS)."""
        instant = await self._log.settled(instant)
        found = await self._decisions.of_identifier(value_hash, instant.known_at)
        return [placed for placed in found if valid_from(placed.event) <= instant.valid_at]
