"""The customer log and the views that profiles are served from."""

from alembic import op

from shared import parked
from shared.log.schema import GRANTS, TABLES

revision = "0001"
down_revision = None

ERASURE = """
CREATE TABLE erased_identifiers (
    bucket     int4  NOT NULL,
    value_hash bytea NOT NULL,
    erased_at  int8  NOT NULL,
    PRIMARY KEY (bucket, value_hash)
);
CREATE TABLE erased_customers (
    partition   int4  NOT NULL,
    stream      bytea NOT NULL,
    erased_at   int8  NOT NULL,
    identifiers int4  NOT NULL,
    decisions   int4  NOT NULL,
    snapshots   int4  NOT NULL,
    parked      int4  NOT NULL,
    PRIMARY KEY (partition, stream)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON erased_identifiers, erased_customers TO c360_profile;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(ERASURE)
    op.execute(GRANTS.format(schema="profile", role="c360_profile"))
    op.execute(parked.TABLE)
    op.execute(parked.GRANT.format(schema="profile", role="c360_profile"))
    op.execute("""
        CREATE TABLE states (
            partition    int4  NOT NULL,
            stream       bytea NOT NULL,
            version      int8  NOT NULL,
            pos          int8  NOT NULL,
            fold         bytea NOT NULL,
            envelope     bytea NOT NULL,
            PRIMARY KEY (partition, stream)
        ) WITH (fillfactor = 70);
        CREATE TABLE snapshots (
            partition    int4  NOT NULL,
            stream       bytea NOT NULL,
            fold         bytea NOT NULL,
            version      int8  NOT NULL,
            pos          int8  NOT NULL,
            recorded_at  int8  NOT NULL,
            first        int8  NOT NULL,
            earliest_at  int8  NOT NULL,
            latest_at    int8  NOT NULL,
            envelope     bytea NOT NULL,
            seal         bytea NOT NULL,
            PRIMARY KEY (partition, stream, fold, version)
        );
        CREATE TABLE identifiers (
            bucket     int4  NOT NULL,
            value_hash bytea NOT NULL,
            customer   bytea NOT NULL,
            PRIMARY KEY (bucket, value_hash)
        );
        CREATE TABLE purposes (
            name    text  NOT NULL,
            version int4  NOT NULL,
            purpose bytea NOT NULL,
            PRIMARY KEY (name, version)
        );
        CREATE TABLE decisions (
            bucket      int4  NOT NULL,
            value_hash  bytea NOT NULL,
            purpose     text  NOT NULL,
            decision_id bytea NOT NULL,
            decision    bytea NOT NULL,
            PRIMARY KEY (bucket, value_hash, purpose, decision_id)
        );
        CREATE TABLE consent_head (
            one      bool PRIMARY KEY DEFAULT true CHECK (one),
            consumed int8 NOT NULL
        );
        INSERT INTO consent_head (consumed) VALUES (0);
        GRANT SELECT, INSERT, UPDATE, DELETE ON states, identifiers TO c360_profile;
        GRANT SELECT, INSERT, DELETE ON snapshots TO c360_profile;
        GRANT SELECT, INSERT ON purposes TO c360_profile;
        GRANT SELECT, INSERT, DELETE ON decisions TO c360_profile;
        GRANT SELECT, UPDATE ON consent_head TO c360_profile;
    """)
