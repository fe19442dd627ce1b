"""The customer log and the views that profiles are served from."""

from alembic import op

from shared import parked
from shared.log.schema import GRANTS, TABLES

revision = "0001"
down_revision = None

# Each stands in two schemas: what is served, and where an edition is made anew beside it (`tables/editions.py`).
VIEWS = """
CREATE TABLE {schema}.states (
    partition    int4  NOT NULL,
    stream       bytea NOT NULL,
    version      int8  NOT NULL,
    pos          int8  NOT NULL,
    fold         bytea NOT NULL,
    envelope     bytea NOT NULL,
    PRIMARY KEY (partition, stream)
) WITH (fillfactor = 70);
CREATE TABLE {schema}.snapshots (
    partition    int4  NOT NULL,
    stream       bytea NOT NULL,
    fold         bytea NOT NULL,
    version      int8  NOT NULL,
    pos          int8  NOT NULL,
    recorded_at  int8  NOT NULL,
    first        int8  NOT NULL,
    earliest_at  int8  NOT NULL,
    latest_at    int8  NOT NULL,
    timeless     bool  NOT NULL,
    envelope     bytea NOT NULL,
    seal         bytea NOT NULL,
    PRIMARY KEY (partition, stream, fold, version)
);
CREATE TABLE {schema}.ordered (
    partition int4  NOT NULL,
    stream    bytea NOT NULL,
    fold      bytea NOT NULL,
    first     int8  NOT NULL,
    last      int8  NOT NULL,
    until_at  int8  NOT NULL,
    latest_at int8  NOT NULL,
    events    int8  NOT NULL,
    pos       int8  NOT NULL,
    envelope  bytea NOT NULL,
    PRIMARY KEY (partition, stream, fold, first, last, until_at)
);
CREATE TABLE {schema}.identifiers (
    bucket     int4  NOT NULL,
    value_hash bytea NOT NULL,
    customer   bytea NOT NULL,
    PRIMARY KEY (bucket, value_hash)
);
CREATE TABLE {schema}.former_links (
    bucket     int4  NOT NULL,
    value_hash bytea NOT NULL,
    customer   bytea NOT NULL,
    PRIMARY KEY (bucket, value_hash, customer)
);
CREATE INDEX former_links_customer ON {schema}.former_links (customer);
CREATE TABLE {schema}.erased_identifiers (
    bucket     int4  NOT NULL,
    value_hash bytea NOT NULL,
    erased_at  int8  NOT NULL,
    PRIMARY KEY (bucket, value_hash)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.states, {schema}.identifiers, {schema}.erased_identifiers TO c360_profile;
GRANT SELECT, INSERT, DELETE ON {schema}.snapshots, {schema}.ordered, {schema}.former_links TO c360_profile;
GRANT TRUNCATE ON {schema}.states, {schema}.snapshots, {schema}.ordered, {schema}.identifiers, {schema}.former_links, {schema}.erased_identifiers TO c360_profile;
"""

# Follow from states, rules and the clock, behind the log: exchanged by themselves.
MEMBERSHIPS = """
CREATE TABLE {schema}.segment_members (
    segment    text  NOT NULL,
    customer   bytea NOT NULL,
    entered_at int8  NOT NULL,
    PRIMARY KEY (segment, customer)
);
CREATE INDEX segment_members_customer ON {schema}.segment_members (customer);
CREATE TABLE {schema}.segment_due (
    customer bytea PRIMARY KEY,
    due_at   int8  NOT NULL
);
CREATE INDEX segment_due_at ON {schema}.segment_due (due_at);
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {schema}.segment_members, {schema}.segment_due TO c360_profile;
"""

# The service's role owns no table, so what exchanges them runs as their owner; whoever calls it holds the heads.
EDITIONS = """
CREATE SCHEMA profile_next;
CREATE SCHEMA profile_exchange;
GRANT USAGE ON SCHEMA profile_next TO c360_profile;
CREATE TABLE editions (
    one  bool PRIMARY KEY DEFAULT true CHECK (one),
    made int8 NOT NULL
);
INSERT INTO editions (made) VALUES (0);
GRANT SELECT, UPDATE ON editions TO c360_profile;
CREATE FUNCTION exchange_views() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM profile.exchange(ARRAY['states', 'snapshots', 'ordered', 'identifiers', 'former_links', 'erased_identifiers']);
    UPDATE profile.partition_heads SET edition = edition + 1;
END $$;
CREATE FUNCTION exchange_memberships() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    PERFORM profile.exchange(ARRAY['segment_members', 'segment_due']);
END $$;
CREATE FUNCTION exchange(names text[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY names LOOP
        EXECUTE format('ALTER TABLE profile.%I SET SCHEMA profile_exchange', name);
        EXECUTE format('ALTER TABLE profile_next.%I SET SCHEMA profile', name);
        EXECUTE format('ALTER TABLE profile_exchange.%I SET SCHEMA profile_next', name);
        EXECUTE format('TRUNCATE profile_next.%I', name);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION exchange(text[]), exchange_views(), exchange_memberships() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchange_views(), exchange_memberships() TO c360_profile;
"""

ERASURE = """
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
GRANT SELECT, INSERT, UPDATE, DELETE ON erased_customers TO c360_profile;
"""

# What was told of memberships, and how far that is: kept apart from the views, because who was a member when isn't said anywhere else.
SEGMENTS = """
CREATE TABLE segment_progress (
    one           bool  PRIMARY KEY DEFAULT true CHECK (one),
    rules_version int4  NOT NULL,
    partition     int4  NOT NULL,
    stream        bytea NOT NULL,
    consent       int8  NOT NULL,
    differing     text[] NOT NULL,
    looked_at     int8  NOT NULL,
    customers     int8  NOT NULL,
    making        int8  NOT NULL,
    writes        int8  NOT NULL
);
INSERT INTO segment_progress VALUES (true, 0, 0, '', 0, '{}', 0, 0, 0, 0);
CREATE TABLE segment_late (
    number    int8  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer  bytea NOT NULL,
    partition int4  NOT NULL,
    pos       int8  NOT NULL,
    events    int4  NOT NULL,
    cause     text  NOT NULL,
    valid_at  int8  NOT NULL
);
CREATE INDEX segment_late_customer ON segment_late (customer);
CREATE TABLE segment_settlings (
    rules_version int4   PRIMARY KEY,
    begun_at      int8   NOT NULL,
    settled_at    int8,
    differing     text[] NOT NULL
);
CREATE TABLE segment_heads (
    partition int4 PRIMARY KEY,
    next_pos  int8 NOT NULL
);
CREATE TABLE segment_changes (
    number        int8  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    segment       text  NOT NULL,
    customer      bytea NOT NULL,
    entered       bool  NOT NULL,
    rules_version int4  NOT NULL,
    valid_at      int8  NOT NULL,
    recorded_at   int8  NOT NULL,
    cause         text  NOT NULL,
    event_type    text  NOT NULL,
    event_id      bytea NOT NULL
);
CREATE INDEX segment_changes_segment ON segment_changes (segment, number);
CREATE INDEX segment_changes_customer ON segment_changes (customer, number);
GRANT SELECT, UPDATE ON segment_progress TO c360_profile;
GRANT SELECT, INSERT, UPDATE ON segment_settlings, segment_heads TO c360_profile;
GRANT SELECT, INSERT, DELETE ON segment_changes, segment_late TO c360_profile;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(VIEWS.format(schema="profile"))
    op.execute(EDITIONS)
    op.execute(VIEWS.format(schema="profile_next"))
    for schema in ("profile", "profile_next"):
        op.execute(MEMBERSHIPS.format(schema=schema))
    op.execute(ERASURE)
    op.execute(SEGMENTS)
    op.execute(GRANTS.format(schema="profile", role="c360_profile"))
    op.execute(parked.TABLE)
    op.execute(parked.GRANT.format(schema="profile", role="c360_profile"))
    op.execute("""
        CREATE TABLE purposes (
            name    text  NOT NULL,
            version int4  NOT NULL,
            purpose bytea NOT NULL,
            pos     int8  NOT NULL,
            PRIMARY KEY (name, version)
        );
        CREATE TABLE decisions (
            bucket      int4  NOT NULL,
            value_hash  bytea NOT NULL,
            purpose     text  NOT NULL,
            decision_id bytea NOT NULL,
            decision    bytea NOT NULL,
            pos         int8  NOT NULL,
            PRIMARY KEY (bucket, value_hash, purpose, decision_id)
        );
        CREATE INDEX decisions_pos ON decisions (pos);
        CREATE TABLE consent_head (
            one      bool PRIMARY KEY DEFAULT true CHECK (one),
            consumed int8 NOT NULL
        );
        INSERT INTO consent_head (consumed) VALUES (0);
        GRANT SELECT, INSERT ON purposes TO c360_profile;
        GRANT SELECT, INSERT, DELETE ON decisions TO c360_profile;
        GRANT SELECT, UPDATE ON consent_head TO c360_profile;
    """)
