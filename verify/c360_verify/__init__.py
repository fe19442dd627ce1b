"""Checks a bundle of evidence without the system it came from: no network, no database, no code of customer360.

Written anew from the published formats (RFC 6962, C2SP signed notes and checkpoints, README.md), so that an error in the
system's own proofs doesn't hide behind the same error here. Needs nothing but `cryptography`.
"""
