"""Identity's read models: the graph by identifier and by customer, and proposals."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from services.identity.domain.sighting import Proposal
from services.identity.tables import erasures
from shared.errors import NotFound, WrongState
from shared.events.customer import ProposalEnd
from shared.ids import to_text


async def save_proposals(connection: Any, proposals: Sequence[Proposal], pos: int, proposed_at: int) -> None:
    """`pos` is the first position of the unit that made them."""
    if not proposals:
        return
    await connection.executemany(
        """INSERT INTO proposals (proposal_id, customer, other, reason, cause, weight, doubts, end_hash, other_end_hash, proposed_at, pos)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        [
            (
                one.proposal_id,
                one.customer,
                one.other,
                one.reason,
                one.cause,
                one.weight,
                list(one.doubts),
                *one.ends,
                proposed_at,
                pos,
            )
            for one in proposals
        ],
    )


async def amend_proposals(connection: Any, proposals: Sequence[Proposal]) -> None:
    """They keep their place and their date: it is still the same two who are asked about."""
    if proposals:
        await connection.executemany(
            "UPDATE proposals SET reason = $2, cause = $3, weight = $4, doubts = $5, end_hash = $6, other_end_hash = $7 WHERE proposal_id = $1",
            [(one.proposal_id, one.reason, one.cause, one.weight, list(one.doubts), *one.ends) for one in proposals],
        )


async def close_proposals(
    connection: Any, closed: Mapping[bytes, bytes], state: ProposalEnd, at: int, decision_id: bytes | None = None
) -> None:
    """By id, what closed each; nothing where time did."""
    await connection.execute(
        """UPDATE proposals SET state = $3, closed_at = $4, decision_id = $5, closed_by = nullif(cause_of_end, '')
           FROM unnest($1::bytea[], $2::bytea[]) AS closed (closed_id, cause_of_end) WHERE proposal_id = closed_id""",
        list(closed),
        list(closed.values()),
        state,
        at,
        decision_id,
    )


async def next_founding_number(pool: Any) -> int:
    newest = await pool.fetchval("SELECT max(founding_number) FROM customers")
    return 0 if newest is None else int(newest) + 1


Ownership = Literal["unspecified", "own", "shared", "contested"]


class Resolved(msgspec.Struct, frozen=True):
    """`ownership` of the identifier, where it is known of that instant."""

    customer: bytes
    canonical: bytes
    ownership: Ownership = "unspecified"


async def resolve(pool: Any, value_hash: bytes) -> Resolved | None:
    row = await pool.fetchrow(
        """SELECT customer, canonical, shared, contested FROM identifiers JOIN customers USING (customer)
           WHERE value_hash = $1 AND link_id IS NOT NULL""",
        value_hash,
    )
    return Resolved(row["customer"], row["canonical"], ownership(row["shared"], row["contested"])) if row else None


async def founded_by(pool: Any, value_hash: bytes) -> bytes | None:
    """The customer that an identifier founded, also when it isn't linked to it any more."""
    found: bytes | None = await pool.fetchval("SELECT customer FROM identifiers WHERE value_hash = $1 AND own", value_hash)
    return found


def ownership(shared: bool, contested: bool) -> Ownership:
    return "shared" if shared else "contested" if contested else "own"


async def members(pool: Any, customer: bytes) -> list[bytes]:
    """All customers of the cluster that `customer` is in, oldest first; none when there is no such customer."""
    rows = await pool.fetch(
        """SELECT customer FROM customers WHERE canonical = (SELECT canonical FROM customers WHERE customer = $1)
           ORDER BY founding_number""",
        customer,
    )
    return [row["customer"] for row in rows]


async def present_members(pool: Any, customer: bytes) -> list[bytes]:
    """As `members`. Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
    found = await members(pool, customer)
    if not found:
        raise NotFound("no customer ever had this id", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
    if (erasure_id := await erasures.erased_by(pool, customer)) is not None:
        raise WrongState("this customer was erased", reason="CUSTOMER_ERASED", erasure_id=to_text(erasure_id))
    return found


class ProposalRow(msgspec.Struct, frozen=True):
    """`state` is "open" or how it ended; of either customer it is asked of who has the identifier of this hash."""

    proposal_id: bytes
    customer: bytes
    other: bytes
    reason: str
    cause: bytes
    weight: float | None
    doubts: Sequence[str]
    end_hash: bytes
    other_end_hash: bytes
    proposed_at: int
    pos: int
    state: str
    closed_at: int | None
    seen_at: int | None
    rests: bool
    decision_id: bytes | None
    closed_by: bytes | None


PROPOSAL: Final = ", ".join(ProposalRow.__struct_fields__)


async def proposals(
    pool: Any, state: str, after: tuple[int, bytes], limit: int, customers: Sequence[bytes] = ()
) -> list[ProposalRow]:
    """Of one state, or with "" of any; about any of `customers`, or with none of them all. Oldest first, after (position, proposal id)."""
    about = "AND (customer = ANY($5::bytea[]) OR other = ANY($5::bytea[]))" if customers else ""  # so that an index finds them
    rows = await pool.fetch(
        f"""SELECT {PROPOSAL} FROM proposals WHERE (state = $1 OR $1 = '') AND (pos, proposal_id) > ($2, $3) {about}
            ORDER BY pos, proposal_id LIMIT $4""",  # noqa: S608
        state,
        *after,
        limit,
        *([list(customers)] if customers else ()),
    )
    return [ProposalRow(**dict(row)) for row in rows]


async def proposal(pool: Any, proposal_id: bytes) -> ProposalRow | None:
    row = await pool.fetchrow(f"SELECT {PROPOSAL} FROM proposals WHERE proposal_id = $1", proposal_id)  # noqa: S608
    return ProposalRow(**dict(row)) if row else None


async def open_proposals_before(pool: Any, proposed_at: int, limit: int) -> list[ProposalRow]:
    rows = await pool.fetch(
        f"""SELECT {PROPOSAL} FROM proposals WHERE state = 'open' AND proposed_at < $1
            ORDER BY proposed_at, proposal_id LIMIT $2""",  # noqa: S608
        proposed_at,
        limit,
    )
    return [ProposalRow(**dict(row)) for row in rows]


async def open_proposals_about(pool: Any, customers: Sequence[bytes]) -> list[ProposalRow]:
    rows = await pool.fetch(
        f"""SELECT {PROPOSAL} FROM proposals WHERE state = 'open' AND (customer = ANY($1::bytea[]) OR other = ANY($1::bytea[]))
            ORDER BY pos, proposal_id""",  # noqa: S608
        list(customers),
    )
    return [ProposalRow(**dict(row)) for row in rows]
