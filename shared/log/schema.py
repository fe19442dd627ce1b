"""The tables of a log. Each service that owns one has them in its own schema.

The service's role may insert and read events, and move its heads; it may not change or delete an event.
"""

TABLES = """
CREATE TABLE partition_heads (
    partition        int4    PRIMARY KEY,
    next_pos         int8    NOT NULL DEFAULT 0,
    consumed         jsonb   NOT NULL DEFAULT '{}',
    last_recorded_at int8    NOT NULL DEFAULT 0,
    owner_epoch      int8    NOT NULL DEFAULT 0
);
CREATE TABLE events (
    partition      int4   NOT NULL,
    pos            int8   NOT NULL,
    stream         bytea  NOT NULL,
    version        int8   NOT NULL,
    event_id       bytea  NOT NULL,
    type_id        text   NOT NULL,
    schema_version int4   NOT NULL,
    recorded_at    int8   NOT NULL,
    occurred_at    int8   NOT NULL,
    header         bytea  NOT NULL,
    envelope       bytea  NOT NULL,
    leaf           bytea  NOT NULL,
    PRIMARY KEY (partition, stream, version),
    UNIQUE (partition, pos)
);
"""

GRANTS = """
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, UPDATE ON {schema}.partition_heads TO {role};
GRANT SELECT, INSERT ON {schema}.events TO {role};
"""
