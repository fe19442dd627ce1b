-- Written by `python -m services.distribution`; a test holds it against that list.
-- For Citus 13 on PostgreSQL 17: run it once, as superuser, on the coordinator, with psql, after `python -m services.migrate` and before the
-- services start. The workers are registered in both databases by then (deploy/citus/README.md). What is distributed already is an error.
\set ON_ERROR_STOP on
\connect c360
SELECT create_distributed_table('profile.partition_heads', 'partition', colocate_with => 'none', shard_count => 32);
SELECT create_distributed_table('profile.events', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.merkle_nodes', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.checkpoints', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.states', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.snapshots', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.ordered', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.erased_customers', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile_next.states', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile_next.snapshots', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile_next.ordered', 'partition', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.identifiers', 'bucket', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.former_links', 'bucket', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.erased_identifiers', 'bucket', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile.decisions', 'bucket', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile_next.identifiers', 'bucket', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile_next.former_links', 'bucket', colocate_with => 'profile.partition_heads');
SELECT create_distributed_table('profile_next.erased_identifiers', 'bucket', colocate_with => 'profile.partition_heads');
SELECT create_reference_table('profile.purposes');
SELECT create_distributed_table('profile.segment_progress', NULL, colocate_with => 'none');
SELECT create_distributed_table('profile.segment_heads', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.segment_members', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.segment_due', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.segment_changes', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.segment_late', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.segment_settlings', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile_next.segment_members', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile_next.segment_due', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.log_owners', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.consent_head', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.editions', NULL, colocate_with => 'profile.segment_progress');
SELECT create_distributed_table('profile.parked', NULL, colocate_with => 'profile.segment_progress');
SELECT citus_schema_distribute('ingest');
SELECT citus_schema_distribute('identity');
SELECT citus_schema_distribute('consent');
SELECT citus_schema_distribute('disclosures');

\connect c360_vault
SELECT create_reference_table('vault.key_encryption_keys');
SELECT create_distributed_table('vault.data_keys', 'owner', colocate_with => 'none', shard_count => 32);
