"""Data keys, wrapped. A destroyed key keeps its row without the key, so that its owner never gets another.

A data key can only be wrapped under a key-encryption key that is in use: a process that was paused since before one was
retired can store nothing that nobody could unwrap.
"""

from alembic import op

revision = "0001"
down_revision = None

# What a role may do with which rows. The owner of the tables, who rewraps (python -m services.rotate), isn't bound by it.
POLICIES = """
ALTER TABLE data_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_are_read ON data_keys FOR SELECT TO c360_identity, c360_profile USING (true);
CREATE POLICY identity_adds ON data_keys FOR INSERT TO c360_identity WITH CHECK (true);
CREATE POLICY identity_destroys ON data_keys FOR UPDATE TO c360_identity
    USING (wrapped IS NOT NULL) WITH CHECK (wrapped IS NULL AND key_id IS NULL);
CREATE POLICY ingest_reads_its_own ON data_keys FOR SELECT TO c360_ingest
    USING (substring(owner FOR 12) = 'ingest epoch' OR substring(owner FOR 10) = 'quarantine');
CREATE POLICY ingest_adds_its_own ON data_keys FOR INSERT TO c360_ingest
    WITH CHECK (substring(owner FOR 12) = 'ingest epoch' OR substring(owner FOR 10) = 'quarantine');
"""


def upgrade() -> None:
    op.execute("""
        CREATE TABLE key_encryption_keys (
            id text PRIMARY KEY
        );
        CREATE TABLE data_keys (
            owner        bytea PRIMARY KEY,
            wrapped      bytea,
            key_id       text  REFERENCES key_encryption_keys,
            created_at   int8  NOT NULL,
            destroyed_at int8,
            CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL)),
            CHECK ((wrapped IS NULL) = (key_id IS NULL))
        );
        CREATE INDEX destroyed ON data_keys (owner) WHERE wrapped IS NULL
    """)
    for service in ("ingest", "identity", "profile"):
        op.execute(f"GRANT USAGE ON SCHEMA vault TO c360_{service}")
        op.execute(f"GRANT SELECT ON data_keys TO c360_{service}")
    for service in ("ingest", "identity"):
        op.execute(f"GRANT INSERT ON data_keys TO c360_{service}")
    op.execute("GRANT UPDATE (wrapped, key_id, destroyed_at) ON data_keys TO c360_identity")
    op.execute(POLICIES)
