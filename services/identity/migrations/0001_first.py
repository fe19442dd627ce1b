"""The identity log, its index of identifiers, the graph, the messages seen, and the outbox towards profile and consent."""

from alembic import op

from shared import parked
from shared.log.schema import GRANTS, TABLES

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GRANTS.format(schema="identity", role="c360_identity"))
    op.execute(parked.TABLE)
    op.execute(parked.GRANT.format(schema="identity", role="c360_identity"))
    op.execute("""
        CREATE TABLE customers (
            customer        bytea PRIMARY KEY,
            founding_number int8  NOT NULL,
            canonical       bytea NOT NULL,
            version         int8  NOT NULL
        );
        CREATE INDEX customers_by_canonical ON customers (canonical);
        CREATE TABLE identifiers (
            value_hash bytea PRIMARY KEY,
            namespace  text  NOT NULL,
            customer   bytea NOT NULL
        );
        CREATE INDEX identifiers_by_customer ON identifiers (customer);
        CREATE TABLE proposals (
            proposal_id bytea PRIMARY KEY,
            customer    bytea NOT NULL,
            other       bytea NOT NULL,
            reason      text  NOT NULL,
            cause       bytea NOT NULL,
            proposed_at int8  NOT NULL,
            pos         int8  NOT NULL
        );
        CREATE UNIQUE INDEX proposals_by_pair ON proposals (customer, other);
        CREATE TABLE seen_messages (
            message bytea PRIMARY KEY
        );
        CREATE TABLE outbox (
            number     int8  PRIMARY KEY,
            unit       bytea NOT NULL,
            created_at int8  NOT NULL
        );
        GRANT SELECT, INSERT, UPDATE ON customers, identifiers TO c360_identity;
        GRANT SELECT, INSERT ON proposals, seen_messages TO c360_identity;
        GRANT SELECT, INSERT, DELETE ON outbox TO c360_identity;
    """)
