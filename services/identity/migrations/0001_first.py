"""The identity log, its index of identifiers, the graph, records and matches, the messages seen, erasures, and the outbox towards profile and consent."""

from alembic import op

from shared import parked
from shared.log.schema import GRANTS, TABLES
from shared.store import generations

revision = "0001"
down_revision = None

ERASURE = """
CREATE TABLE erasures (
    erasure_id   bytea PRIMARY KEY,
    request_id   text  NOT NULL UNIQUE,
    requested_at int8  NOT NULL,
    customer     bytea NOT NULL,
    completed    bool  NOT NULL,
    erasure      bytea NOT NULL
);
CREATE INDEX erasures_unfinished ON erasures (requested_at) WHERE NOT completed;
CREATE TABLE suppressions (
    value_hash bytea PRIMARY KEY,
    erasure_id bytea NOT NULL,
    policy     text  NOT NULL,
    erased_at  int8  NOT NULL
);
CREATE TABLE holds (
    hold_id     bytea PRIMARY KEY,
    request_id  text  NOT NULL UNIQUE,
    customer    bytea NOT NULL,
    reason      text  NOT NULL,
    placed_by   text  NOT NULL,
    placed_at   int8  NOT NULL,
    released_at int8,
    members     bytea[] NOT NULL -- that it binds
);
CREATE INDEX holds_in_force ON holds USING gin (members) WHERE released_at IS NULL;
GRANT SELECT, INSERT, UPDATE ON erasures, suppressions, holds TO c360_identity;
"""


GRAPH = """
CREATE TABLE customers (
    customer        bytea PRIMARY KEY,
    founding_number int8  NOT NULL,
    canonical       bytea NOT NULL,
    version         int8  NOT NULL,
    erased_by       bytea
);
CREATE INDEX customers_by_canonical ON customers (canonical);
CREATE INDEX customers_erased ON customers (customer) WHERE erased_by IS NOT NULL;
-- customer: that it is linked to, or that it founded and, without a link_id, isn't linked to any more; own: it founded that
-- customer; resolving: an event resolved by it;
-- component: what candidate links lead to; said_in: the customer whose stream holds its sealed value
CREATE TABLE identifiers (
    value_hash bytea PRIMARY KEY,
    namespace  text  NOT NULL,
    customer   bytea,
    link_id    bytea,
    own        bool  NOT NULL,
    resolving  bool  NOT NULL,
    shared     bool  NOT NULL,
    contested  bool  NOT NULL,
    component  bytea,
    said_in    bytea,
    told_at    int8, -- told_event: the last sighting that says something of it, where there may be later ones
    told_event bytea,
    recorded_by text[] NOT NULL DEFAULT '{}', -- sources with a record of it
    alone_at int8, alone_since int8 -- the earliest event that resolved by it and is in no sighting; and when we knew of that event
);
CREATE TABLE superseded_alone (value_hash bytea, alone_at int8 NOT NULL, alone_since int8, PRIMARY KEY (value_hash, alone_since));
CREATE INDEX identifiers_by_customer ON identifiers (customer);
CREATE INDEX identifiers_by_component ON identifiers (component);
CREATE TABLE sightings (
    sighting_id bytea   PRIMARY KEY,
    nodes       bytea[] NOT NULL, -- identifier hashes
    occurred_at int8    NOT NULL,
    event_id    bytea   NOT NULL, -- the earliest event that saw these together
    source      text    NOT NULL, -- of that event
    recorded_at int8    NOT NULL, -- when we knew of that event
    component   bytea
);
CREATE INDEX sightings_by_component ON sightings (component);
CREATE INDEX sightings_by_node ON sightings USING gin (nodes);
-- what was the earliest event of a sighting before an earlier one came: what was known at a past instant
CREATE TABLE superseded_evidence (
    sighting_id bytea NOT NULL,
    occurred_at int8  NOT NULL,
    event_id    bytea NOT NULL,
    source      text  NOT NULL,
    recorded_at int8  NOT NULL,
    PRIMARY KEY (sighting_id, recorded_at)
);
-- whose streams tell of links that were taken back
CREATE TABLE former_links (
    value_hash bytea NOT NULL,
    customer   bytea NOT NULL,
    PRIMARY KEY (value_hash, customer)
);
CREATE INDEX former_links_by_customer ON former_links (customer);
CREATE TABLE merges (
    merge_id bytea PRIMARY KEY,
    customer bytea NOT NULL,
    other    bytea NOT NULL,
    likely   bool  NOT NULL -- nothing but a match joins the two
);
CREATE INDEX merges_by_customer ON merges (customer);
CREATE INDEX merges_by_other ON merges (other);
CREATE TABLE unsettled (
    value_hash bytea PRIMARY KEY -- an erasure took away what it was seen with, or what it matched
);
-- what events saw together that is settled behind them; no fact until it is
CREATE TABLE waiting_sightings (
    sighting_id  bytea   PRIMARY KEY,
    value_hashes bytea[] NOT NULL,
    namespaces   text[]  NOT NULL,
    sealed       bytea[] NOT NULL, -- the values, under the key of the customer with whom the event stands
    customer     bytea   NOT NULL,
    occurred_at  int8    NOT NULL,
    event_id     bytea   NOT NULL, -- the earliest event that saw these together
    source       text    NOT NULL,
    since        int8    NOT NULL
);
CREATE INDEX waiting_sightings_by_age ON waiting_sightings (since, sighting_id);
CREATE INDEX waiting_sightings_by_identifier ON waiting_sightings USING gin (value_hashes);
-- at most one row: how far the graph follows rules that were activated
CREATE TABLE resettling (
    version     int4  PRIMARY KEY,
    settled_to  bytea NOT NULL, -- every value hash up to this one
    identifiers int8  NOT NULL,
    merges      int8  NOT NULL,
    splits      int8  NOT NULL,
    links       int8  NOT NULL,
    unlinks     int8  NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON customers TO c360_identity;
GRANT SELECT, INSERT, DELETE ON former_links TO c360_identity;
GRANT SELECT, INSERT, UPDATE, DELETE ON identifiers, sightings, superseded_evidence, superseded_alone, merges, unsettled,
    waiting_sightings, resettling TO c360_identity;
"""


DECISIONS = """
-- one, other: hashes of the identifiers that are to be one or two; customer, other_customer: whose streams tell of it
CREATE TABLE decisions (
    decision_id         bytea PRIMARY KEY,
    request_id          text  NOT NULL UNIQUE,
    asked               bytea NOT NULL, -- digest of the request, to know it again
    kind                text  NOT NULL,
    one                 bytea NOT NULL,
    other               bytea NOT NULL,
    customer            bytea NOT NULL,
    other_customer      bytea NOT NULL,
    decided_by          text  NOT NULL,
    reason              text  NOT NULL,
    decided_at          int8  NOT NULL,
    proposal_id         bytea, -- that it answered
    withdraw_request_id text UNIQUE,
    withdrawn_by        text,
    withdrawn_reason    text,
    withdrawn_at        int8
);
CREATE INDEX decisions_in_force ON decisions (one, other) WHERE withdrawn_at IS NULL;
CREATE INDEX decisions_by_one ON decisions (one);
CREATE INDEX decisions_by_other ON decisions (other);
CREATE INDEX decisions_by_customer ON decisions (customer);
CREATE INDEX decisions_by_other_customer ON decisions (other_customer);
CREATE INDEX decisions_by_time ON decisions (decided_at, decision_id);
-- of decisions that an erasure removed: their requests are not to be carried out again, and what they caused was decided
CREATE TABLE spent_requests (
    request_id  text  PRIMARY KEY,
    decision_id bytea NOT NULL UNIQUE
);
GRANT SELECT, INSERT, UPDATE, DELETE ON decisions TO c360_identity;
GRANT SELECT, INSERT ON spent_requests TO c360_identity;
"""


MATCHING = """
-- what one source said of the customer that one identifier founded, sealed under the customer's key
CREATE TABLE records (
    record_id  bytea   PRIMARY KEY,
    value_hash bytea   NOT NULL,
    source     text    NOT NULL,
    customer   bytea   NOT NULL,
    block_keys bytea[] NOT NULL,
    household  bytea,
    sealed     bytea   NOT NULL,
    same_since   int8  NOT NULL, -- when it became known that this is said, up to what nobody compares
    ordered_from int8  NOT NULL, -- what was said before that, as it happened, came in another order: some of it isn't known
    known_since  int8  NOT NULL -- when it was there first
);
CREATE INDEX records_by_value ON records (value_hash);
CREATE INDEX records_by_customer ON records (customer);
CREATE INDEX records_by_household ON records (household) WHERE household IS NOT NULL;
CREATE TABLE blocks (
    block_key bytea NOT NULL, -- a keyed hash
    record_id bytea NOT NULL,
    PRIMARY KEY (block_key, record_id)
);
CREATE TABLE returned_blocks (
    block_key bytea PRIMARY KEY -- an erasure brought it below its cap
);
CREATE TABLE matches (
    one         bytea  NOT NULL, -- record ids, in order
    other       bytea  NOT NULL,
    one_hash    bytea  NOT NULL,
    other_hash  bytea  NOT NULL,
    weight      float8 NOT NULL, -- bits
    unrivalled  float8 NOT NULL, -- bits, where neither could be anybody else; minus infinity: sources that may have a person twice
    witnessed   bool   NOT NULL,
    veto        text,
    model       text   NOT NULL, -- version of the one that weighed
    agreement   bytea  NOT NULL, -- numbers of its levels, and bits, that the weight is made of; no value
    occurred_at int8   NOT NULL, -- of the event since which all that was compared is said
    event_id    bytea  NOT NULL,
    said_by   bytea  NOT NULL, -- ids, instants and units of the events that said first what was compared, of either side
    stands_from int8   NOT NULL, -- when the latest of what was compared, or removed, had happened
    recorded_at int8   NOT NULL, -- since when the two match so
    PRIMARY KEY (one, other)
);
CREATE INDEX matches_by_other ON matches (other);
CREATE INDEX matches_by_one_hash ON matches (one_hash, other_hash);
CREATE INDEX matches_by_other_hash ON matches (other_hash);
-- as it was until it was weighed otherwise, or was none any more
CREATE TABLE former_matches (
    LIKE matches,
    until    int8 NOT NULL,
    ended_at int8 NOT NULL -- when the first had happened of what was said otherwise
);
CREATE INDEX former_matches_by_one ON former_matches (one);
CREATE INDEX former_matches_by_other ON former_matches (other);
CREATE INDEX former_matches_by_one_hash ON former_matches (one_hash);
CREATE INDEX former_matches_by_other_hash ON former_matches (other_hash);
CREATE TABLE matching (
    single   bool   PRIMARY KEY DEFAULT true CHECK (single),
    consumed int8   NOT NULL, -- the last unit of the outbox whose events are in the records
    model    text   NOT NULL, -- that `matches` are by
    floor    float8 NOT NULL, -- bits, from which on they are kept
    again    bytea            -- up to which record all are compared again, by another model or from another floor on
);
GRANT SELECT, INSERT, UPDATE, DELETE ON records, blocks, returned_blocks, matches, matching TO c360_identity;
GRANT SELECT, INSERT, UPDATE, DELETE ON former_matches TO c360_identity;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(ERASURE)
    op.execute(GRANTS.format(schema="identity", role="c360_identity"))
    op.execute(parked.TABLE)
    op.execute(parked.GRANT.format(schema="identity", role="c360_identity"))
    op.execute(GRAPH)
    op.execute(DECISIONS)
    op.execute(MATCHING)
    op.execute("""
        CREATE TABLE proposals (
            proposal_id bytea PRIMARY KEY,
            customer    bytea NOT NULL,
            other       bytea NOT NULL,
            reason      text  NOT NULL,
            cause       bytea NOT NULL,
            weight      float8, -- bits, of a match
            doubts      text[] NOT NULL, -- why it isn't certain
            end_hash       bytea NOT NULL, -- which identifiers of the two customers it is asked of
            other_end_hash bytea NOT NULL,
            proposed_at int8  NOT NULL,
            pos         int8  NOT NULL,
            state       text  NOT NULL DEFAULT 'open',
            closed_at   int8,
            seen_at     int8, -- of one that expired: when one of the two was seen again; until then it isn't asked anew
            -- in no index, so that it is looked up by identifier, whatever statistics say of how few rest
            rests       bool NOT NULL GENERATED ALWAYS AS (state = 'expired' AND seen_at IS NULL) STORED,
            decision_id bytea, -- that accepted or declined it
            closed_by   bytea -- that, or the event, decision or version of the rules by which nothing speaks for it any more
        );
        CREATE UNIQUE INDEX proposals_by_pair ON proposals (customer, other) WHERE state = 'open';
        CREATE INDEX proposals_by_customer ON proposals (customer);
        CREATE INDEX proposals_by_other ON proposals (other);
        CREATE INDEX proposals_by_end ON proposals (end_hash);
        CREATE INDEX proposals_by_other_end ON proposals (other_end_hash);
        CREATE INDEX proposals_by_state ON proposals (state, pos, proposal_id);
        CREATE INDEX proposals_open ON proposals (proposed_at) WHERE state = 'open';
        CREATE TABLE seen_messages (
            generation int4  NOT NULL,
            message    bytea NOT NULL,
            PRIMARY KEY (generation, message)
        );
        CREATE TABLE outbox (
            number     int8  PRIMARY KEY,
            unit       bytea STORAGE EXTERNAL NOT NULL,
            created_at int8  NOT NULL
        );
        GRANT SELECT, INSERT, UPDATE, DELETE ON proposals TO c360_identity;
        GRANT SELECT, INSERT ON seen_messages TO c360_identity;
        GRANT SELECT, INSERT, DELETE ON outbox TO c360_identity;
    """)
    op.execute(generations.TABLE.format(table="seen_messages", role="c360_identity"))
