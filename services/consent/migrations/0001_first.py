"""The consent ledger and its views: definitions, decisions, and which identifiers belong together."""

from alembic import op

from shared.log.schema import GRANTS, TABLES

revision = "0001"
down_revision = None


OF_PERSONS = """
    CREATE TABLE links (
        value_hash bytea PRIMARY KEY,
        customer   bytea NOT NULL,
        likely     bool  NOT NULL, -- nothing but a match joins it to the customer
        since      int8  NOT NULL, -- when consent came to know it
        namespace  text  NOT NULL
    );
    CREATE INDEX links_by_customer ON links (customer);
    CREATE TABLE past_links ( -- what held from `since` on, and no more at `until`
        value_hash bytea NOT NULL,
        customer   bytea NOT NULL,
        likely     bool  NOT NULL,
        since      int8  NOT NULL,
        until      int8  NOT NULL,
        PRIMARY KEY (value_hash, since)
    );
    CREATE INDEX past_links_by_customer ON past_links (customer);
    CREATE TABLE parted ( -- what turned out to be shared while it was a customer's: what was forbidden by it still holds
        customer   bytea NOT NULL,
        value_hash bytea NOT NULL,
        since      int8  NOT NULL,
        PRIMARY KEY (customer, value_hash)
    );
    CREATE TABLE customers (
        customer  bytea PRIMARY KEY,
        erased_at int8
    );
    CREATE TABLE erased_identifiers (
        value_hash bytea PRIMARY KEY,
        erased_at  int8  NOT NULL
    );
    CREATE TABLE edges (
        merge_id bytea NOT NULL,
        customer bytea NOT NULL,
        other    bytea NOT NULL,
        likely   bool  NOT NULL, -- nothing but a match joins the two
        since    int8  NOT NULL,
        until    int8, -- when a split took the merge back
        PRIMARY KEY (customer, merge_id)
    );
    CREATE TABLE customer_head (
        one        bool PRIMARY KEY DEFAULT true CHECK (one),
        consumed   int8 NOT NULL,
        applied_at int8 NOT NULL -- when that was; never the same instant twice
    );
    INSERT INTO customer_head (consumed, applied_at) VALUES (0, 0);
    GRANT SELECT, INSERT ON definitions, decisions, signals TO c360_consent;
    GRANT SELECT, INSERT, UPDATE ON customers, edges, erased_identifiers, standing TO c360_consent;
    GRANT SELECT, INSERT, UPDATE, DELETE ON links, past_links, parted TO c360_consent;
    GRANT SELECT, UPDATE ON customer_head TO c360_consent;
"""

OF_RIGHTS = """
    CREATE TABLE rights_steps (
        pos         int8  PRIMARY KEY,
        rights_id   bytea NOT NULL,
        request_id  text  NOT NULL UNIQUE,
        recorded_at int8  NOT NULL,
        entry       bytea NOT NULL
    );
    CREATE INDEX rights_steps_by_request ON rights_steps (rights_id, pos);
    CREATE TABLE rights_requests ( -- how each stands, by its steps
        rights_id  bytea PRIMARY KEY,
        value_hash bytea NOT NULL,
        asked      text  NOT NULL, -- access, erasure ...
        pos        int8  NOT NULL, -- of its receipt
        state      text  NOT NULL,
        due_on     text COLLATE "C" NOT NULL,
        request    bytea NOT NULL
    );
    CREATE INDEX rights_requests_by_day ON rights_requests (due_on, rights_id);
    CREATE INDEX rights_requests_by_identifier ON rights_requests (value_hash);
    CREATE TABLE rights_callbacks ( -- who is told how a request stands; gone once they were told its end
        rights_id bytea NOT NULL,
        url       text  NOT NULL,
        told      text  NOT NULL, -- the state that they know of
        tries     int4  NOT NULL DEFAULT 0,
        try_at    int8  NOT NULL DEFAULT 0,
        PRIMARY KEY (rights_id, url)
    );
    GRANT SELECT, INSERT, UPDATE, DELETE ON rights_callbacks TO c360_consent;
    GRANT SELECT, INSERT ON rights_steps TO c360_consent;
    GRANT SELECT, INSERT, UPDATE ON rights_requests TO c360_consent;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GRANTS.format(schema="consent", role="c360_consent"))
    op.execute("""
        CREATE TABLE definitions ( -- of purposes, controllers, notices, mappings, callers and overrides, every version
            kind        text  NOT NULL,
            name        text COLLATE "C" NOT NULL,
            version     int4  NOT NULL,
            pos         int8  NOT NULL,
            request_id  text  NOT NULL UNIQUE,
            in_force_at int8  NOT NULL,
            recorded_at int8  NOT NULL,
            definition  bytea NOT NULL,
            PRIMARY KEY (kind, name, version)
        );
        CREATE TABLE decisions (
            pos         int8  PRIMARY KEY,
            decision_id bytea NOT NULL UNIQUE,
            value_hash  bytea NOT NULL,
            purpose     text  NOT NULL,
            request_id  text  NOT NULL UNIQUE,
            recorded_at int8  NOT NULL,
            decision    bytea NOT NULL
        );
        CREATE INDEX decisions_by_identifier ON decisions (value_hash, purpose);
        CREATE INDEX decisions_by_purpose ON decisions (purpose, value_hash);
        CREATE TABLE signals ( -- what was received, with its text, which is sealed
            pos         int8  PRIMARY KEY,
            value_hash  bytea NOT NULL,
            kind        text  NOT NULL,
            request_id  text  NOT NULL UNIQUE,
            recorded_at int8  NOT NULL,
            entry       bytea NOT NULL
        );
        CREATE INDEX signals_by_identifier ON signals (value_hash, pos);
        CREATE TABLE standing ( -- what events said last, with when, which is sealed
            value_hash bytea NOT NULL,
            source     text  NOT NULL,
            kind       text  NOT NULL,
            run        bytea NOT NULL,
            PRIMARY KEY (value_hash, source, kind)
        );
    """)
    op.execute(OF_PERSONS)
    op.execute(OF_RIGHTS)
