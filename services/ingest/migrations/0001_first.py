"""The log of sources, the views that write keys and plans are looked up in, and the receipts of events."""

from alembic import op

from shared.log.schema import GRANTS, TABLES
from shared.store import generations

revision = "0001"
down_revision = None

RECEIPTS = """
CREATE TABLE receipts (
    generation int4  NOT NULL,
    event_id   bytea NOT NULL,
    customer   bytea NOT NULL,
    unit       int8  NOT NULL,
    PRIMARY KEY (generation, event_id)
);
CREATE TABLE customer_head (
    customer int8 NOT NULL,
    ingest   int8 NOT NULL,
    receipts int8 NOT NULL
);
INSERT INTO customer_head VALUES (0, 0, 0);
GRANT SELECT, INSERT ON receipts TO c360_ingest;
GRANT SELECT, UPDATE ON customer_head TO c360_ingest;
"""

VERDICTS = """
CREATE TABLE verdicts (
    event_id bytea NOT NULL,
    status   text  NOT NULL,
    reason   text  NOT NULL,
    times    int8  NOT NULL,
    last_at  int8  NOT NULL,
    PRIMARY KEY (event_id, status)
);
CREATE INDEX verdicts_by_age ON verdicts (last_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON verdicts TO c360_ingest;
"""


QUARANTINE_SIZES = """
    CREATE TABLE quarantine_sizes (
        source text PRIMARY KEY REFERENCES sources,
        events int8 NOT NULL,
        bytes  int8 NOT NULL
    );
    CREATE FUNCTION quarantine_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE one int8 := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
    BEGIN
        INSERT INTO ingest.quarantine_sizes (source, events, bytes)
        SELECT source, one * count(*), one * sum(length(sealed)) FROM changed GROUP BY source ORDER BY source
        ON CONFLICT (source) DO UPDATE
        SET events = quarantine_sizes.events + excluded.events, bytes = quarantine_sizes.bytes + excluded.bytes;
        RETURN NULL;
    END $$;
    CREATE TRIGGER grew AFTER INSERT ON quarantine REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION quarantine_changed();
    CREATE TRIGGER shrank AFTER DELETE ON quarantine REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION quarantine_changed();
    GRANT SELECT, INSERT, UPDATE ON quarantine_sizes TO c360_ingest;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GRANTS.format(schema="ingest", role="c360_ingest"))
    op.execute("""
        CREATE TABLE sources (
            name          text  PRIMARY KEY,
            settings      jsonb NOT NULL,
            registered_at int8  NOT NULL
        );
        CREATE TABLE write_keys (
            hash       bytea PRIMARY KEY,
            source     text  NOT NULL REFERENCES sources,
            name       text  NOT NULL,
            hint       text  NOT NULL,
            added_at   int8  NOT NULL,
            revoked_at int8,
            UNIQUE (source, name)
        );
        CREATE TABLE plans (
            source       text NOT NULL REFERENCES sources,
            version      int4 NOT NULL,
            document     text NOT NULL,
            published_at int8 NOT NULL,
            PRIMARY KEY (source, version)
        );
        CREATE TABLE violations (
            source       text NOT NULL REFERENCES sources,
            plan_version int4 NOT NULL,
            rule         text NOT NULL,
            place        text NOT NULL,
            action       text NOT NULL,
            events       int8 NOT NULL,
            last_seen_at int8 NOT NULL,
            PRIMARY KEY (source, plan_version, rule, place, action)
        );
        CREATE TABLE quarantine (
            event_id     bytea   PRIMARY KEY,
            source       text    NOT NULL REFERENCES sources,
            plan_version int4    NOT NULL,
            rules        text[]  NOT NULL,
            occurred_at  int8    NOT NULL,
            received_at  int8    NOT NULL,
            identifiers  bytea[] NOT NULL,
            epoch        bytea   NOT NULL,
            sealed       bytea   NOT NULL
        );
        -- of who was erased, as identity has them: what names one of these is not held
        CREATE TABLE suppressions (
            value_hash bytea PRIMARY KEY,
            policy     text  NOT NULL,
            erased_at  int8  NOT NULL
        );
        CREATE INDEX ON quarantine (source, received_at, event_id);
        CREATE INDEX ON quarantine USING gin (identifiers);
        GRANT SELECT, INSERT, UPDATE ON violations TO c360_ingest;
        GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine TO c360_ingest;
        GRANT SELECT, INSERT, UPDATE ON sources, write_keys, suppressions TO c360_ingest;
        GRANT SELECT, INSERT ON plans TO c360_ingest;
    """)
    op.execute(QUARANTINE_SIZES)
    op.execute(RECEIPTS)
    op.execute(generations.TABLE.format(table="receipts", role="c360_ingest"))
    op.execute(VERDICTS)
