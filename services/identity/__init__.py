"""Identity finds out who is who.

Owns the identity log: customers' births, the identifiers linked to them, the merges between them, and proposals of merges
that a person must decide. Follows INGEST. Publishes CUSTOMER: every event with the customer it belongs to, sealed under
that customer's key, and with it what identity concluded from it. Serves Resolve, GetCustomer and ListProposals.
"""
