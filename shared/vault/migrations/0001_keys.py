"""Data keys, wrapped. A destroyed key keeps its row without the key, so that its owner never gets another."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE data_keys (
            owner        bytea PRIMARY KEY,
            wrapped      bytea,
            key_id       text  NOT NULL,
            created_at   int8  NOT NULL,
            destroyed_at int8,
            CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
        )
    """)
    for service in ("ingest", "identity", "profile"):
        op.execute(f"GRANT USAGE ON SCHEMA vault TO c360_{service}")
        op.execute(f"GRANT SELECT ON data_keys TO c360_{service}")
    for service in ("ingest", "identity"):
        op.execute(f"GRANT INSERT ON data_keys TO c360_{service}")
    # Only identity erases. Keys are rewrapped by who holds the keyring and the owner's password (python -m services.rotate).
    op.execute("GRANT UPDATE (wrapped, destroyed_at) ON data_keys TO c360_identity")
