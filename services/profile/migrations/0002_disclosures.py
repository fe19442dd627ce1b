"""The log of disclosures, in a schema of its own: it has nothing to do with the customer log but its owner."""

from alembic import op

from shared.log.schema import GRANTS, TABLES

revision = "0002"
down_revision = "0001"

# In which events something stands about a customer, or by virtue of a decision.
INDEXES = """
CREATE TABLE disclosed (
    customer bytea NOT NULL,
    pos      int8  NOT NULL,
    PRIMARY KEY (customer, pos)
);
CREATE TABLE justified (
    decision_id bytea NOT NULL,
    pos         int8  NOT NULL,
    PRIMARY KEY (decision_id, pos)
);
GRANT SELECT, INSERT ON disclosed, justified TO c360_profile;
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA disclosures")
    op.execute("SET LOCAL search_path TO disclosures")
    op.execute(TABLES)
    op.execute(INDEXES)
    op.execute(GRANTS.format(schema="disclosures", role="c360_profile"))
    op.execute("SET LOCAL search_path TO profile")
