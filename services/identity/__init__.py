"""Identity finds out who is who, and erases who asks for it.

Owns the identity log: customers' births, the identifiers linked to them, the merges between them, proposals of merges that a
person must decide, decisions by hand, the versions of the rules, erasures and legal holds; beside it the records and matches of
probabilistic matching. Follows INGEST. Publishes CUSTOMER: every event with the customer it belongs to, sealed under that
customer's key, and with it what identity concluded from it. Serves ResolveIdentifier, GetCustomer, ListProposals, EraseCustomer
and legal holds, decisions, rules and what others would change, matches, and explains who is who at any instant. The only
service that destroys keys.
"""
