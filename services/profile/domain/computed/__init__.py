"""Computed traits: what a customer's events amount to, by definitions that operators write. Pure.

`definitions` reads and compiles them, `occurrences` keeps what they need of events, `aggregates` says what that amounts to at an
instant, and `changes` when it next may change with no event. Decision 44.
"""
