"""Consent keeps what data may be used for, and what each person decided about it.

Owns the consent log (one partition, one writer): definitions (purposes, controllers, notices) in versions, and
decisions, each bound for ever to the identifier it was captured for. Follows CUSTOMER, to know which identifiers belong to one person. Publishes CONSENT: every event of the
log. Serves Define, GetVersionAt, ListDefinitions and ListVersions (the registry), RecordDecision, Check and ListDecisions; a decision is answered when no reader can
serve without it any more.
"""
