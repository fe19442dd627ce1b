"""The tables of a log. Each service that owns one has them in its own schema.

The service's role may insert and read events, and move its heads; it may not change or delete an event, nor a node of the
tree, nor a checkpoint.
"""

TABLES = """
CREATE TABLE partition_heads (
    partition        int4    PRIMARY KEY,
    next_pos         int8    NOT NULL DEFAULT 0,
    consumed         jsonb   NOT NULL DEFAULT '{}',
    last_recorded_at int8    NOT NULL DEFAULT 0,
    owner_epoch      int8    NOT NULL DEFAULT 0,
    merkle_frontier  bytea   NOT NULL DEFAULT '',
    edition          int8    NOT NULL DEFAULT 0
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
    UNIQUE (partition, pos),
    CONSTRAINT events_place CHECK (pos >= 0 AND version >= 1 AND length(stream) = 16)
);
CREATE TABLE merkle_nodes (
    partition int4  NOT NULL,
    height    int4  NOT NULL,
    number    int8  NOT NULL,
    hash      bytea NOT NULL,
    PRIMARY KEY (partition, height, number),
    CONSTRAINT nodes_place CHECK (height IN (8, 16, 24, 32, 40, 48, 56) AND number >= 0)
);
CREATE TABLE checkpoints (
    partition int4  NOT NULL,
    tree_size int8  NOT NULL,
    note      text  NOT NULL,
    made_at   int8  NOT NULL,
    PRIMARY KEY (partition, tree_size)
);
"""

GRANTS = """
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, UPDATE (next_pos, consumed, last_recorded_at, owner_epoch, merkle_frontier) ON {schema}.partition_heads TO {role};
GRANT SELECT, INSERT ON {schema}.events, {schema}.merkle_nodes, {schema}.checkpoints TO {role};
"""

# Of every log too, by a migration of its own.
OWNERS = """
CREATE TABLE IF NOT EXISTS {schema}.log_owners ( -- the lease of the log (shared/log/ownership.py); partition 0: all that are owned together
    partition int4        PRIMARY KEY,
    owner     text        NOT NULL,
    until     timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON {schema}.log_owners TO {role};
"""
