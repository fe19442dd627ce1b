"""All that checks look at, in one statement: as of one moment, and in one round trip however many are asked about."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from services.consent.domain.ledger import Instant
from services.consent.persons import LINKS_NOW, LINKS_THEN, Person
from services.consent.views import Placed, as_of, counted, decode_decision, decode_purpose
from shared.consent_rule import Bond
from shared.cores import cores
from shared.errors import CustomerError, NotFound, WrongState
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, PurposeDefined
from shared.ids import to_text
from shared.instants import END_OF_TIME

PARTED, LINKED, JOINED, KNOWN, DECIDED, PURPOSE = range(6)
EDGE_HELD: Final = "since <= $3 AND (until IS NULL OR until > $3)"
# $1 identifiers and $2 customers who are named, $3 what is known by then, $4 the purpose, $5 what had happened by then. Whatever is asked for by what
# was found before is looked up by index, one by one (OFFSET 0): how much was found the planner can't know.
STATEMENT: Final = f"""
    WITH RECURSIVE joined (root, customer) AS (
        SELECT customer, customer
        FROM (SELECT customer FROM {{held}} AS named WHERE value_hash = ANY($1::bytea[]) UNION SELECT unnest($2::bytea[])) AS roots
        UNION SELECT root, other FROM joined JOIN edges USING (customer) WHERE {EDGE_HELD}
    ), bonds (kind, root, customer, value_hash, likely) AS (
        SELECT {PARTED}, root, customer, value_hash, false FROM joined CROSS JOIN LATERAL
            (SELECT value_hash FROM parted WHERE parted.customer = joined.customer AND since <= $3 OFFSET 0) AS one
        UNION ALL SELECT {LINKED}, root, customer, value_hash, likely FROM joined CROSS JOIN LATERAL
            (SELECT value_hash, likely FROM {{held}} AS held WHERE held.customer = joined.customer OFFSET 0) AS one
    ), hashes (value_hash) AS (SELECT value_hash FROM bonds UNION SELECT unnest($1))
    SELECT kind, root, customer, value_hash, likely, NULL::int8 AS pos, NULL::int8 AS recorded_at, NULL::int8 AS erased_at,
        NULL::bytea AS body FROM bonds
    UNION ALL SELECT {JOINED}, NULL, customer, other, false, NULL, NULL, NULL, NULL FROM joined CROSS JOIN LATERAL
        (SELECT other FROM edges WHERE edges.customer = joined.customer AND NOT likely AND {EDGE_HELD} OFFSET 0) AS one
    UNION ALL SELECT {KNOWN}, NULL, customer, NULL, false, NULL, NULL, erased_at, NULL FROM customers WHERE customer = ANY($2)
    UNION ALL SELECT {DECIDED}, NULL, NULL, value_hash, false, pos, recorded_at,
        coalesce((SELECT erased_at FROM erased_identifiers AS gone WHERE gone.value_hash = hashes.value_hash), -1), decision
        FROM hashes CROSS JOIN LATERAL (
            SELECT pos, recorded_at, decision FROM decisions
            WHERE decisions.value_hash = hashes.value_hash AND purpose IN ($4, '{EVERY_PURPOSE}') AND recorded_at <= $3 OFFSET 0
        ) AS one
    UNION ALL (
        SELECT {PURPOSE}, NULL, NULL, NULL, false, pos, recorded_at, NULL, definition FROM definitions
        WHERE kind = 'purpose' AND name = $4 AND (version = 1 OR (in_force_at <= $5 AND recorded_at <= $3))
        ORDER BY in_force_at <= $5 AND recorded_at <= $3 DESC, version DESC LIMIT 1
    )"""  # noqa: S608
NOW, THEN = (STATEMENT.format(held=held.replace("$2", "$3")) for held in (LINKS_NOW, LINKS_THEN))


class Looked(NamedTuple):
    """`owners`: whose the identifiers are that were named, of those that are anybody's. `refused`: of the customers that were named whom nothing is
    told of. `persons` by customer, of the others, as far as they have any identifier. `decisions` that count, by identifier. `purpose`: the
    version that was in force then, as it was known; the first where none was yet, as decisions may be of before it."""

    owners: dict[bytes, bytes]
    refused: dict[bytes, CustomerError]
    persons: dict[bytes, Person]
    decisions: dict[bytes, list[Placed[DecisionRecorded]]]
    purpose: Placed[PurposeDefined] | None


class LookingUp:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def of(self, purpose: str, hashes: Collection[bytes], customers: Collection[bytes], instant: Instant) -> Looked:
        """The instant is settled."""
        statement = NOW if instant.known_at == END_OF_TIME else THEN
        found = await self._pool.fetch(statement, list(hashes), list(customers), instant.known_at, purpose, instant.valid_at)
        rows: dict[int, list[Any]] = defaultdict(list)
        for row in found:
            rows[row["kind"]].append(row)
        decided = [(_placed(row), row["erased_at"]) for row in rows[DECIDED]]
        defined = next((Placed(decode_purpose(row["body"]), row["pos"], row["recorded_at"]) for row in rows[PURPOSE]), None)
        return Looked(
            {row["value_hash"]: row["customer"] for row in rows[LINKED] if row["value_hash"] in hashes},
            _refused(customers, rows[KNOWN]),
            _persons([*rows[PARTED], *rows[LINKED]], rows[JOINED]),
            counted(as_of(decided, instant)),
            defined if defined and defined.recorded_at <= instant.known_at else None,
        )


def _placed(row: Any) -> Placed[DecisionRecorded]:
    return Placed(decode_decision(row["body"]), row["pos"], row["recorded_at"])


def _persons(bonds: Sequence[Any], joined: Sequence[Any]) -> dict[bytes, Person]:
    """What is somebody's counts as that, though it turned out to be shared before: links come last."""
    certain = {(row["customer"], row["value_hash"]) for row in joined}
    core = cores(
        {end for row in bonds for end in (row["root"], row["customer"])} | {end for edge in certain for end in edge}, certain
    )
    found: dict[bytes, Person] = {}
    for row in bonds:
        person = found.setdefault(row["root"], Person(core[row["root"]], {}))
        likely = row["value_hash"] if row["likely"] else core[row["customer"]]
        person.bonds[row["value_hash"]] = Bond(row["kind"] == LINKED, likely)
    return found


def _refused(customers: Collection[bytes], known: Sequence[Any]) -> dict[bytes, CustomerError]:
    """NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED)."""
    erased = {row["customer"]: row["erased_at"] is not None for row in known}
    return {customer: _refusal(customer, customer in erased) for customer in customers if erased.get(customer, True)}


def _refusal(customer: bytes, erased: bool) -> CustomerError:
    if erased:
        return WrongState("this customer was erased", reason="CUSTOMER_ERASED", customer_id=to_text(customer))
    return NotFound("no customer ever had this id", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
