"""Profile keeps one golden profile per customer and serves it, now and as of any past instant.

Owns the customer log: each customer an event-sourced aggregate, in P partitions. Follows CUSTOMER (identity's output) and
CONSENT. Publishes PROFILE: which customers changed, up to which position. Serves GetProfile, GetTimeline and WatchProfile,
each for a declared purpose and filtered by the customer's consent; and ExportEvents, a source's events in bulk.
"""
